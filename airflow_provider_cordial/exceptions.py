"""Everything that can go wrong, as one tree; where a class stands says whether a retry can help.

``CordialError``
    ``RefusedError``: Cordial, or a check before anything was sent, said no; asking again gives the same answer, so
    these also are ``AirflowFailException`` and fail the task at once.
    ``TransientError``: it may pass.
    ``JobError``: what became of an export job.
    ``DeliveryError``: what is wrong with a delivered file.

No message carries a secret: they are made of statuses, of Cordial's own words and of values that the author wrote.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_cordial._compat import AirflowException, AirflowFailException, AirflowSensorTimeout

if TYPE_CHECKING:
    from airflow_provider_cordial.client.job import Job


class CordialError(AirflowException):
    """The root of all errors of this provider.

    :param message: one sentence on what happened, and one on what to do.
    :param status: the HTTP status, where an answer was the cause.
    :param error_key: Cordial's ``errorKey``.
    :param cordial_message: what Cordial said, in its own words.
    """

    retry_helps: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        error_key: str | None = None,
        cordial_message: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.error_key = error_key
        self.cordial_message = cordial_message

    def __str__(self) -> str:
        return self.message

    def to_json(self) -> dict[str, Any]:
        """Return the error as plain JSON, for the event of a trigger."""
        return {
            "class": type(self).__name__,
            "message": self.message,
            "status": self.status,
            "error_key": self.error_key,
            "cordial_message": self.cordial_message,
        }


class RefusedError(CordialError, AirflowFailException):
    """Asking again gives the same answer."""


class InvalidConnectionError(RefusedError):
    """An Airflow connection lacks something, or holds something that cannot be used."""


class InvalidParameterError(RefusedError):
    """A parameter of a task is invalid: found before anything was sent."""


class InvalidExportError(InvalidParameterError):
    """The export that is asked for cannot be: found before anything was sent."""


class AuthenticationError(RefusedError):
    """401: Cordial does not accept the API key from this address."""


class PermissionDeniedError(RefusedError):
    """403: the API key may not make this call, or not from this address."""


class NotFoundError(RefusedError):
    """404: no such record."""


class DestinationError(RefusedError):
    """400: the destination configuration is wrong."""


class ExportConfigurationError(RefusedError):
    """406: the export configuration is wrong."""


class RequestError(RefusedError):
    """Any other answer that says that the request is wrong."""


class SubmissionUncertainError(RefusedError):
    """Whether Cordial accepted an export cannot be told, and sending it again might make a second one."""


class TransientError(CordialError):
    """It may pass: the same request can succeed later."""

    retry_helps = True


class RateLimitError(TransientError):
    """429: too many requests.

    :param retry_after: how many seconds to wait at least, where Cordial said so.
    """

    def __init__(self, message: str, *, retry_after: float | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.retry_after = retry_after


class ServerError(TransientError):
    """5xx: Cordial, or a proxy before it, failed."""


class UnreadableAnswerError(TransientError):
    """An answer that is not what the API documents: not JSON, cut short, or without the member that matters."""


class ConnectionFailedError(TransientError):
    """No whole answer came: no connection, a reset, or a timeout.

    :param sent: whether the request may have reached Cordial.
    """

    def __init__(self, message: str, *, sent: bool = True, **details: Any) -> None:
        super().__init__(message, **details)
        self.sent = sent


class JobError(CordialError):
    """What became of an export job, when it was not Done.

    :param job: the job as last seen.
    """

    def __init__(self, message: str, *, job: Job | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.job = job


class JobFailedError(JobError):
    """The job ended as Failed; another export may succeed."""

    retry_helps = True


class AwaitedJobFailedError(JobFailedError, AirflowFailException):
    """The job that a sensor waits for ended as Failed; waiting again cannot change that."""

    retry_helps = False


class JobNotFoundError(JobError, RefusedError):
    """Cordial still does not know the job after the grace period."""


class JobTimeoutError(JobError):
    """The job did not end before the deadline; a retry waits on."""

    retry_helps = True


class UnknownJobStatusError(JobTimeoutError):
    """The job did not end before the deadline, and its status is none that this provider knows."""


class SensorJobTimeoutError(JobTimeoutError, AirflowSensorTimeout):
    """The job did not end before the sensor's timeout."""

    retry_helps = False


class SensorUnknownJobStatusError(UnknownJobStatusError, AirflowSensorTimeout):
    """The job did not end before the sensor's timeout, and its status is none that this provider knows."""

    retry_helps = False


class BadEventError(CordialError):
    """A trigger's event that is not understood: never taken for a success."""

    retry_helps = True


class DeliveryError(CordialError):
    """Something is wrong with a delivered file."""


class DeliveredFileNotFoundError(DeliveryError):
    """The file did not come, or not whole, before the deadline."""

    retry_helps = True


class DestinationUnreachableError(DeliveryError):
    """The destination's server cannot be reached, or does not let us in, for reading."""

    retry_helps = True


class NoDownloadError(DeliveryError, AirflowFailException):
    """The destination has no file that a program can fetch."""


class TrendsCsvError(DeliveryError, AirflowFailException):
    """The delivered CSV cannot be read; the message names the line or the column."""


class IncompleteTrendsError(DeliveryError, AirflowFailException):
    """Audiences or days that were asked for are not in the file, or others are."""


def error_from_json(record: dict[str, Any]) -> CordialError:
    """Return the error that a trigger's event carries (see ``CordialError.to_json``)."""
    found = globals().get(str(record.get("class")))
    error_class = found if isinstance(found, type) and issubclass(found, CordialError) else CordialError
    return error_class(
        str(record.get("message") or "The trigger failed without a reason."),
        status=record.get("status"),
        error_key=record.get("error_key"),
        cordial_message=record.get("cordial_message"),
    )
