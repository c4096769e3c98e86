"""Kill a task that writes files, at any time, retry it, and read its files all the while."""

from __future__ import annotations

import io
import random
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from tests.chaos.interpreter import Interpreter
from tests.chaos.tries import Try, kill_this_process

SUBJECT = "tests.chaos.publishing:FileTask"

#: Days of an export, and so its files.
DAYS = 27

#: Audiences of an export: each file has some ten kilobytes.
AUDIENCES = 800

_FIRST = datetime(2026, 10, 1, tzinfo=UTC).date()


@dataclass(slots=True)
class FileCounts:
    """The results of some runs.

    :param kills: of tries while they published.
    :param torn: files that were read incomplete, or that were neither the old nor the new ones.
    :param wrong: runs whose files were not all the new ones in the end.
    """

    runs: int = 0
    kills: int = 0
    torn: int = 0
    wrong: int = 0
    failures: list[str] = field(default_factory=list)


class FileTask:
    """``AudienceTrendsToFileOperator`` with a delivered file; lives in the process of a try.

    The setting ``version`` makes the numbers of one delivery differ from those of another. The process dies at the file
    of the setting ``kill_at_file``, ``kill_after`` seconds after it began to be copied.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = settings

    def execute(self, context: dict[str, Any]) -> Any:
        from airflow_provider_cordial.transfers import audience_trends_to_file as module

        operator = module.AudienceTrendsToFileOperator(
            task_id="export", export={}, path=self.settings["target"], dag=None
        )
        operator._open_trends = self._deliver  # type: ignore[assignment]
        copy, left = shutil.copyfileobj, self.settings.get("kill_at_file")

        def watched(source: Any, sink: Any, length: int = 0) -> None:
            nonlocal left
            if left is not None:
                left -= 1
                if left == 0 and (seconds := self.settings["kill_after"]) > 0:
                    threading.Timer(seconds, kill_this_process).start()
                elif left == 0:
                    # In the middle of the file.
                    sink.write(source.read(1000))
                    sink.flush()
                    kill_this_process()
            copy(source, sink, length)

        shutil.copyfileobj = watched  # type: ignore[assignment]
        return operator.execute(context)  # type: ignore[arg-type]

    def resume(self, context: dict[str, Any], event: Any) -> Any:
        raise NotImplementedError

    def wait(self, deferred: Any) -> Any:
        raise NotImplementedError

    @contextmanager
    def _deliver(self, _context: Any) -> Iterator[Any]:
        from airflow_provider_cordial.destinations import UiDestination
        from airflow_provider_cordial.exports.audience_trends import AudienceTrendsExport
        from airflow_provider_cordial.exports.timeframe import Timeframe
        from airflow_provider_cordial.trends.completeness import spool_rows
        from airflow_provider_cordial.trends.csv import TrendsReader
        from airflow_provider_cordial.trends.delivery import DeliveredTrends

        export = AudienceTrendsExport(
            name="trends",
            audiences=tuple(_audiences()),
            timeframe=Timeframe(_FIRST, _FIRST + timedelta(days=DAYS - 1)),
            destination=UiDestination(),
        )
        stream = io.BytesIO(_delivered(self.settings["version"]).encode())
        with closing(spool_rows(TrendsReader(stream), export)) as spool:
            yield DeliveredTrends(export, "job", "trends.csv", spool)


class Truncating(FileTask):
    """Writes each file in its place."""

    def execute(self, context: dict[str, Any]) -> Any:
        from airflow_provider_cordial.trends import files as module

        def publish(local: Path, target: Any) -> None:
            target.parent.mkdir(parents=True, exist_ok=True)
            with local.open("rb") as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)

        module.publish_file = publish
        return super().execute(context)


def kill_publishing(
    interpreter: Interpreter,
    kills: int,
    seed: int,
    folder: Path,
    *,
    subject: str = SUBJECT,
    in_the_middle: bool = False,
) -> FileCounts:
    """Run until so many tries were killed while they published."""
    counts = FileCounts()
    while counts.kills < kills:
        assert counts.runs < 10 * kills + 10, f"{counts.kills} of {counts.runs} runs were killed: {counts.failures[:1]}"
        counts.runs += 1
        _one_run(interpreter, f"{seed}-{counts.runs}", folder / str(counts.runs), subject, counts, in_the_middle)
    return counts


def _one_run(
    interpreter: Interpreter, seed: str, folder: Path, subject: str, counts: FileCounts, in_the_middle: bool
) -> None:
    dice = random.Random(seed)
    target = folder / "out"
    expected = [_expected(version) for version in range(2)]
    has_old = dice.random() < 0.5

    def attempt(version: int, **settings: Any) -> str:
        settings |= {"target": str(target), "version": version}
        outcome = interpreter.run(Try(subject=subject, folder=str(folder), settings=settings))
        return outcome.how if outcome.how != "error" else f"error: {outcome.value}"

    folder.mkdir(parents=True)
    if has_old:
        attempt(0)
    watch = _Watch(target, [expected[1], *([expected[0]] if has_old else [])])
    with watch:
        for _ in range(dice.randint(1, 2)):
            seconds = 0.0 if in_the_middle or dice.random() < 0.3 else dice.uniform(0.0, 0.05)
            how = attempt(1, kill_at_file=dice.randint(1, DAYS), kill_after=seconds)
            counts.kills += how == "killed"
        how = attempt(1)
    torn = watch.torn | watch.find_torn()
    counts.torn += len(torn)
    files = {path.relative_to(target).as_posix(): path.read_bytes() for path in target.rglob("*") if path.is_file()}
    is_wrong = how != "success" or files != expected[1]
    counts.wrong += is_wrong
    if torn or is_wrong:
        counts.failures.append(
            f"files of run {seed}: ended with {how}; torn: {sorted(torn)[:5]}; right: {not is_wrong}"
        )


class _Watch:
    """Reads the published files all the while; a context manager."""

    def __init__(self, target: Path, versions: list[dict[str, bytes]]) -> None:
        self.torn: set[str] = set()
        self._target = target
        self._versions = versions
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join()

    def find_torn(self) -> set[str]:
        torn = set()
        for path in self._target.rglob("*"):
            name = path.relative_to(self._target).as_posix()
            # Readers of a folder ignore names that begin with a dot.
            if path.name.startswith(".") or path.is_dir():
                continue
            try:
                content = path.read_bytes()
            except FileNotFoundError:
                continue
            if all(content != version.get(name) for version in self._versions):
                torn.add(name)
        return torn

    def _run(self) -> None:
        while not self._ended.is_set():
            self.torn |= self.find_torn()
            time.sleep(0.03)


def _audiences() -> list[str]:
    return [f"audience {n:05}" for n in range(AUDIENCES)]


def _contacts(version: int, audience: int, day: int) -> int:
    return 1000 * version + 7 * audience + day


def _days() -> list[str]:
    return [str(_FIRST + timedelta(days=n)) for n in range(DAYS)]


def _delivered(version: int) -> str:
    rows = [",".join(["audience", *_days()])]
    for n, audience in enumerate(_audiences()):
        rows.append(",".join([audience, *(str(_contacts(version, n, day)) for day in range(DAYS))]))
    return "\n".join(rows) + "\n"


@lru_cache
def _expected(version: int) -> dict[str, bytes]:
    files = {}
    for number, day in enumerate(_days()):
        rows = [f"{audience},{day},{_contacts(version, n, number)}" for n, audience in enumerate(_audiences())]
        content = "\n".join(["audience,snapshot_date,contacts", *rows]) + "\n"
        files[f"snapshot_date={day}/audience_trends.csv"] = content.encode()
    return files
