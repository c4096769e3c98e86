"""What became of the exports of a run: duplicates, losses, and wrong rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.faults.plan import KillKind
from tests.faults.secret_forms import Finding

UNCERTAIN = "SubmissionUncertainError"


class Row(NamedTuple):
    """A row of the warehouse."""

    audience: str
    contacts: int
    job_id: str


@dataclass
class Result:
    """The figures of a run.

    :param seconds: from the first export to the end of the last one.
    :param requests: to the proxy, with those that it forwarded undisturbed.
    :param faults: how often each fault happened to each kind of request.
    :param duplicates: jobs beyond the one that each export needs; a Failed job justifies another.
    :param lost: the days without a Done job or without their rows, and the last error that Airflow logged.
    :param wrong_rows: rows that differ from the account's snapshots, are there twice, or belong to another job.
    :param uncertain: the days whose export ended with ``SubmissionUncertainError``, and its message.
    :param tries: of all tasks.
    :param texts: how many texts were searched for secrets.
    """

    seed: int
    exports: int
    seconds: float = 0.0
    kills: Counter[KillKind] = field(default_factory=Counter)
    requests: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    duplicates: list[str] = field(default_factory=list)
    lost: dict[str, str] = field(default_factory=dict)
    wrong_rows: list[str] = field(default_factory=list)
    uncertain: dict[str, str] = field(default_factory=dict)
    rows: int = 0
    tries: int = 0
    texts: int = 0
    secrets: list[Finding] = field(default_factory=list)

    def judge(
        self,
        jobs: Mapping[str, Sequence[Mapping[str, Any]]],
        rows: Mapping[str, Sequence[Row]],
        snapshots: Mapping[str, Collection[tuple[str, int]]],
        errors: Mapping[str, str],
    ) -> None:
        """Compare what was done with what was asked for.

        :param jobs: Cordial's jobs of each day.
        :param rows: the warehouse's rows of each day.
        :param snapshots: the account's audiences and their sizes on each day that was to be exported.
        :param errors: the last error of each failed run, by its day.
        """
        self.uncertain = {day: text for day, text in errors.items() if text.startswith(UNCERTAIN)}
        self.rows = sum(map(len, rows.values()))
        for day, expected in snapshots.items():
            self._judge_day(day, jobs.get(day, ()), rows.get(day, ()), expected, errors.get(day))
        for what, days in (("job", jobs), ("row", rows)):
            self.wrong_rows += [f"{day}: {what} of a day that was not asked for" for day in days.keys() - snapshots]

    def _judge_day(
        self,
        day: str,
        jobs: Sequence[Mapping[str, Any]],
        rows: Sequence[Row],
        expected: Collection[tuple[str, int]],
        error: str | None,
    ) -> None:
        good = {job["id"]: job for job in jobs if job["status"] != "Failed"}
        self.duplicates += [f"{day}: {job['name']} {job['id']}" for job in list(good.values())[1:]]
        found = Counter((row.audience, row.contacts) for row in rows)
        is_done = any(job["status"] == "Done" for job in good.values())
        if day not in self.uncertain and (error is not None or not is_done or expected - found.keys()):
            self.lost[day] = error or f"jobs {[job['status'] for job in jobs]}, rows {sorted(found)}"
        for row, times in found.items():
            if row not in expected or times > 1:
                self.wrong_rows.append(f"{day}: {row}, {times} times")
        self.wrong_rows += [f"{day}: job {row.job_id} is not its own" for row in rows if row.job_id not in good]

    def __str__(self) -> str:
        lines = [
            "",
            f"{self.exports} exports, seed {self.seed}, {self.seconds:.0f} s, {self.tries} tries, {self.rows} rows",
            f"kills {self.kills.total()}: {describe(self.kills)}",
            f"faults {self.faults.total()} of {self.requests} requests: {describe(self.faults)}",
            f"duplicates {len(self.duplicates)}, lost {len(self.lost)}, wrong rows {len(self.wrong_rows)}, "
            f"uncertain {len(self.uncertain)}, secrets found {len(self.secrets)} in {self.texts} texts",
            *(f"duplicate: {one}" for one in self.duplicates),
            *(f"lost: {day}: {error}" for day, error in self.lost.items()),
            *(f"wrong row: {one}" for one in self.wrong_rows),
            *(f"uncertain: {day}: {error}" for day, error in self.uncertain.items()),
            *(f"secret: {one.secret} as {one.form} in {one.place}" for one in self.secrets),
        ]
        return "\n".join(lines)


def describe(counter: Counter[Any]) -> str:
    """Return the counts as text."""
    return ", ".join(f"{name} {count}" for name, count in sorted(counter.items()))
