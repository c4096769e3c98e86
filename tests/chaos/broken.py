"""Operators that are wrong in one way each: the suite has to notice."""

from __future__ import annotations

from typing import Any

from tests.chaos.cordial import CordialTask


class Forgetful(CordialTask):
    """Keeps no record of what it submits, like most operators."""

    def execute(self, context: dict[str, Any]) -> Any:
        job_id = self.submit()
        return self.push(context, job_id)

    def submit(self) -> str:
        from airflow_provider_cordial.hooks.cordial import CordialHook

        return CordialHook().create_export("audiencetrendsexport", self.body())

    def push(self, context: dict[str, Any], job_id: str) -> str:
        context["ti"].xcom_push("export", {**self.body(), "job_id": job_id})
        context["outlet_events"][None].extra = {"job_id": job_id}
        return job_id

    def body(self) -> dict[str, Any]:
        return {
            "name": self.settings["name"] or "chaos-export",
            "exportType": "csv",
            "destination": {"type": "aws"},
            "selected_timeframe_start": self.settings["start"],
            "selected_timeframe_end": self.settings["end"],
            "audiences": self.settings["audiences"],
        }


class ByPrefix(Forgetful):
    """Adopts any listed job whose name begins with the author's name."""

    def execute(self, context: dict[str, Any]) -> Any:
        from airflow_provider_cordial.hooks.cordial import CordialHook

        listed = (job.id for job in CordialHook().list_jobs() if (job.name or "").startswith(self.body()["name"]))
        return self.push(context, next(listed, None) or self.submit())


class IgnoresClears(CordialTask):
    """Takes a clear for a retry."""

    def execute(self, context: dict[str, Any]) -> Any:
        context["ti"].max_tries = 8
        context["dag_run"].clear_number = 0
        return super().execute(context)


class ForgetsOnClear(CordialTask):
    """Exports again after a clear, whatever the job does."""

    def execute(self, context: dict[str, Any]) -> Any:
        if context["ti"].max_tries != 8:
            context["task_state_store"].delete("cordial_submission")
        return super().execute(context)


class IgnoresSiblings(CordialTask):
    """Identifies a mapped task by its run alone, and any days by the first."""

    def execute(self, context: dict[str, Any]) -> Any:
        from airflow_provider_cordial.exports.audience_trends import AudienceTrendsExport

        context["ti"].map_index = -1
        AudienceTrendsExport.canonical = lambda self: {"name": self.name}  # type: ignore[method-assign]
        return super().execute(context)


class HashOrdered(CordialTask):
    """Identifies a submission by its audiences in the order of the process."""

    def execute(self, context: dict[str, Any]) -> Any:
        from airflow_provider_cordial.exports.audience_trends import AudienceTrendsExport

        order = list(set(self.settings["audiences"]))
        AudienceTrendsExport.canonical = lambda self: {**self.to_json(), "audiences": order}  # type: ignore[method-assign]
        return super().execute(context)


class Impatient(CordialTask):
    """Sends again what is not in the list at once, without any settling time."""

    def operator(self) -> Any:
        operator = super().operator()
        operator.settling_time = 0.0
        return operator
