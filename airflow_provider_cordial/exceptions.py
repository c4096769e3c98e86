"""The errors of this provider as one tree; the class of an error decides whether a retry can help.

``CordialError``
    ``RefusedError``: rejected by Cordial, or by a check before anything was sent. The same request would be rejected
    again, so these are also ``AirflowFailException`` and fail the task at once.
    ``TransientError``: a temporary failure.
    ``JobError``: an export job that did not become Done.
    ``DeliveryError``: a delivered file that is missing or cannot be read.
    ``TableError``: a table that cannot be loaded.
    ``DaysMissingError``, ``StaleTableError``, ``TableDiffersError``: a table that is not as it should be.

No message contains a secret: messages consist of statuses, values that the author wrote, and the words of Cordial and
of databases, from which secrets are struck out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_cordial._compat import AirflowException, AirflowFailException, AirflowSensorTimeout

if TYPE_CHECKING:
    from airflow_provider_cordial.client.job import Job


#: Characters of a line that are visible in a log view that does not wrap.
_WIDTH = 120

_SENTENCE_END = re.compile(r"(?<=[^.\s]\.) (?=[A-Z])")


class CordialError(AirflowException):
    """The root of all errors of this provider.

    :param message: one sentence on what failed, and one on what to do.
    :param status: the HTTP status, if an answer was the cause.
    :param error_key: Cordial's ``errorKey``.
    :param cordial_message: the explanation in Cordial's own words.
    :param is_from_cordial: whether an answer that caused it was Cordial's own JSON, not that of a firewall or a proxy.
    """

    retry_helps: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        error_key: str | None = None,
        cordial_message: str | None = None,
        is_from_cordial: bool = True,
    ) -> None:
        super().__init__(message)
        self.is_from_cordial = is_from_cordial
        self.message = message
        self.status = status
        self.error_key = error_key
        self.cordial_message = cordial_message

    def __str__(self) -> str:
        """Return a line per sentence: a log view that does not wrap shows what failed first, and why."""
        first, *others = _SENTENCE_END.split(self.message)
        if len(first) > _WIDTH and (colon := first.rfind(": ", 0, _WIDTH)) > 0:
            others.insert(0, first[colon + 2 :])
            first = first[: colon + 1]
        return "\n".join([first, *others])

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
    """The request was rejected, and the same request would be rejected again."""


class InvalidConnectionError(RefusedError):
    """An Airflow connection is incomplete or invalid."""


class MissingConnectionError(InvalidConnectionError):
    """Airflow reports that a connection does not exist; it reports the same while it cannot reach its database."""


class UnsupportedWarehouseError(InvalidConnectionError):
    """The database behind a connection cannot replace rows completely or not at all."""


class InvalidParameterError(RefusedError):
    """A parameter of a task is invalid: found before anything was sent."""


class InvalidExportError(InvalidParameterError):
    """The requested export is invalid: found before anything was sent."""


class MissingExtraError(InvalidParameterError):
    """An extra of the provider's distribution is not installed."""


class AccessError(RefusedError):
    """401 or 403."""


class AuthenticationError(AccessError):
    """401: Cordial does not accept the API key from this address."""


class PermissionDeniedError(AccessError):
    """403: the API key has no permission for this call, or not from this address."""


class NotFoundError(RefusedError):
    """404: the record does not exist."""


class DestinationError(RefusedError):
    """400: the destination configuration is invalid."""


class ExportConfigurationError(RefusedError):
    """406: the export configuration is invalid."""


class RequestError(RefusedError):
    """Any other answer that rejects the request."""


class SubmissionUncertainError(RefusedError):
    """It is unknown whether Cordial accepted an export, and submitting it again might create a second one."""


class TransientError(CordialError):
    """Temporary failure: the same request may succeed later."""

    retry_helps = True


class RateLimitError(TransientError):
    """429: too many requests.

    :param retry_after: the minimum wait in seconds, if Cordial asked for one.
    """

    def __init__(self, message: str, *, retry_after: float | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.retry_after = retry_after


class ServerError(TransientError):
    """5xx: Cordial, or a proxy in front of it, failed."""


def answered_by_another(error: CordialError, text: str = "") -> ServerError:
    """Return the error for a rejection by a firewall or a proxy, not by Cordial itself: a retry can help.

    :param error: the rejection; ``is_from_cordial`` is False.
    :param text: the message, by default that of the error.
    """
    return ServerError(
        text or error.message, status=error.status, cordial_message=error.cordial_message, is_from_cordial=False
    )


class UnreadableAnswerError(TransientError):
    """An answer that the API does not document: not JSON, truncated, or without a required member."""


class ConnectionFailedError(TransientError):
    """No complete answer arrived: no connection, a reset, or a timeout.

    :param sent: whether the request may have reached Cordial.
    """

    def __init__(self, message: str, *, sent: bool = True, **details: Any) -> None:
        super().__init__(message, **details)
        self.sent = sent


class JobError(CordialError):
    """An export job that did not become Done.

    :param job: the job as last polled.
    """

    def __init__(self, message: str, *, job: Job | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.job = job


class JobFailedError(JobError):
    """The job Failed; another export may succeed."""

    retry_helps = True


class AwaitedJobFailedError(JobFailedError, AirflowFailException):
    """The job that a sensor waits for Failed; waiting again cannot change that."""

    retry_helps = False


class JobNotFoundError(JobError, RefusedError):
    """Cordial does not know the job after the grace period."""


class JobTimeoutError(JobError):
    """The job did not end before the deadline; a retry resumes the wait."""

    retry_helps = True


class UnknownJobStatusError(JobTimeoutError):
    """The job did not end before the deadline, and its status is unrecognized."""


class SensorJobTimeoutError(JobTimeoutError, AirflowSensorTimeout):
    """The job did not end before the sensor's timeout."""

    retry_helps = False


class SensorUnknownJobStatusError(UnknownJobStatusError, AirflowSensorTimeout):
    """The job did not end before the sensor's timeout, and its status is unrecognized."""

    retry_helps = False


class BadEventError(CordialError):
    """A trigger's event cannot be read: never treated as a success."""

    retry_helps = True


class DeliveryError(CordialError):
    """A delivered file is missing or cannot be read."""


class DeliveredFileNotFoundError(DeliveryError):
    """The file did not arrive, or not completely, before the deadline."""

    retry_helps = True


class IncompleteFileError(DeliveredFileNotFoundError):
    """The file lacks something requested: it may still be growing."""


class FileChangedError(DeliveredFileNotFoundError):
    """The file changed or disappeared between two requests."""


class FolderNotListedError(DeliveredFileNotFoundError):
    """The server does not list the folder: it may not exist yet, or Airflow may not list it.

    :param folder: the path without a trailing slash: a file whose name is known may still be readable.
    """

    def __init__(self, message: str, *, folder: str = "", **details: Any) -> None:
        super().__init__(message, **details)
        self.folder = folder


class AmbiguousFileError(DeliveryError, AirflowFailException):
    """Several files could be the delivered one."""


class DestinationUnreachableError(DeliveryError):
    """The destination's server cannot be reached for reading, or the connection broke."""

    retry_helps = True


class DestinationAccessError(DeliveryError, AirflowFailException):
    """The server rejects Airflow: a wrong certificate, host key, login, permission, or name of a bucket."""


class NoDownloadError(DeliveryError, AirflowFailException):
    """The destination has no file that a program can download."""


class TableError(CordialError):
    """A table cannot be loaded; the rows are as before the load.

    :param table: its name.
    """

    def __init__(self, message: str, *, table: str = "", **details: Any) -> None:
        super().__init__(message, **details)
        self.table = table


class UnsuitableTableError(TableError, AirflowFailException):
    """The table's own key or columns do not fit the load: found before anything was deleted."""


class ExcessiveChangeError(TableError, AirflowFailException):
    """The load would change more of the known contacts than ``max_change``: found before anything was written."""


class DaysMissingError(CordialError, AirflowFailException):
    """A table lacks days of audiences that it should have."""


class StaleTableError(CordialError):
    """A table lacks the newest day that it should have: it may still be loaded."""

    retry_helps = True


class TableDiffersError(CordialError, AirflowFailException):
    """A table has other numbers than Cordial: to compare again does not change that."""


class TransientTableError(TableError):
    """A deadlock, a lock timeout, or a lost connection: the same load may succeed later."""

    retry_helps = True


def error_from_json(record: dict[str, Any]) -> CordialError:
    """Return the error that ``CordialError.to_json`` serialized into a trigger's event."""
    found = globals().get(str(record.get("class")))
    error_class = found if isinstance(found, type) and issubclass(found, CordialError) else CordialError
    return error_class(
        str(record.get("message") or "The trigger failed without giving a reason."),
        status=record.get("status"),
        error_key=record.get("error_key"),
        cordial_message=record.get("cordial_message"),
    )
