"""ApprovePlanOperator: a person approves a plan above a size. Airflow 3.1 or later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator

from airflow_provider_cordial.client.wording import count_of

if TYPE_CHECKING:
    from airflow.sdk import Context, XComArg


class ApprovePlanOperator(ApprovalOperator):
    """Let a person approve a plan of more than some exports; a smaller one needs no approval.

    :param plan: the output of an ``AudienceTrendsPlanOperator`` (templated).
    :param above: how many exports need no approval.
    """

    template_fields: Sequence[str] = (*ApprovalOperator.template_fields, "plan")

    def __init__(self, *, plan: XComArg | Sequence[Any] | str, above: int, **kwargs: Any) -> None:
        super().__init__(**{"subject": "Approve the exports that fill the table", **kwargs})
        self.plan = plan
        self.above = above

    def execute(self, context: Context) -> Any:
        """Ask a person, if the plan is large."""
        plan: Sequence[Any] = self.plan if isinstance(self.plan, Sequence) else []
        if len(plan) <= self.above:
            self.log.info("A plan of %s needs no approval", count_of(len(plan), "export"))
            return None
        if not self.body:
            self.body = describe(plan)
        return super().execute(context)


def describe(plan: Sequence[Any]) -> str:
    """Return what a person needs to decide."""
    starts, ends = ([export["timeframe"][edge] for export in plan] for edge in ("start", "end"))
    audiences = {audience for export in plan for audience in export["audiences"]}
    return f"{count_of(len(plan), 'export')} of {count_of(len(audiences), 'audience')}, {min(starts)} to {max(ends)}."
