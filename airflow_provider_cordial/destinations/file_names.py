"""Which files of a folder are an export's, by their names alone.

The exact name of a delivered file is not documented: an export's name "defines the export file name", and an extension,
a time, or the job id may follow it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from airflow_provider_cordial.destinations.base import DeliveredFile
from airflow_provider_cordial.exceptions import AmbiguousFileError

#: The extensions of an export's file, without the dot and before a compression's; the likely one first.
CSV = ("csv", "txt")
JSON = ("json", "jsonl", "ndjson")

#: Words in the name of a file that is unfinished, or that accompanies another file.
_NOT_A_DELIVERY = re.compile(
    "bak|crdownload|download|downloading|error|failed|filepart|incomplete|inprogress|lck|lock|log|old|part|partial|"
    "pending|swo|swp|temp|tmp|unfinished|upload|uploading|writing|"
    "asc|checksum|crc|crc32|ctl|ctrl|done|flag|manifest|marker|md5|md5sum|ok|pgp|ready|semaphore|sha|sha1|sha1sum|"
    "sha256|sha256sum|sha384|sha512|sig|success|trg|trigger"
)

_PART = re.compile(
    r"(?:[-_. ](?:part[-_. ]?)?(?P<number>\d{1,4})|[-_. ]?\((?P<copy>\d{1,4})\))"
    r"(?:[-_. ]?of[-_. ]?(?P<total>\d{1,4}))?",
    re.IGNORECASE,
)

#: The words of a time, a number, or the id of a job, which no other export's name continues with.
_GENERATED = re.compile(r"\d+(?:t\d+)?z?|[0-9a-f]{8,}")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)

#: Follows a dot without being an extension: a time, or the id of a job.
_NOT_AN_EXTENSION = re.compile(r"\d[-_:T\d]{3,}Z?|(?=[a-f]*\d)[0-9a-f]{8,}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class FileName:
    """A file name that can be an export's.

    :param suffix: between the export's name and the extension.
    :param part: the number in a suffix such as ``-1``, ``.part2``, or ``(3)``.
    :param total: the number of parts, in a suffix such as ``-1-of-3``.
    """

    suffix: str
    part: int | None = None
    total: int | None = None

    @property
    def may_be_another_exports(self) -> bool:
        """Whether another export's name may be this export's name and the suffix."""
        words = filter(None, _words(_UUID.sub("", self.suffix)))
        return not all(_GENERATED.fullmatch(word) for word in words) and self.part is None


def likely_extensions(formats: tuple[str, ...] = CSV) -> tuple[str, ...]:
    """Return the extensions that ``parse_file_name`` accepts, in the spelling that is the most likely."""
    likely, *others = formats
    return (
        f".{likely}",
        "",
        f".{likely}.gz",
        *(f".{other}" for other in others),
        f".{likely}.zip",
        ".gz",
        ".zip",
    )


def parse_file_name(file_name: str, name: str, formats: tuple[str, ...] = CSV) -> FileName | None:
    """Return the parts of a name if the file may be that of an export, or None.

    :param name: the export's name, with which the file's name begins exactly.
    :param formats: the extensions that the file may have, as ``CSV``.
    """
    if not file_name.startswith(name):
        return None
    rest = file_name[len(name) :]
    suffix, has_extension = _split_extension(rest, formats)
    if suffix and suffix[0].isalnum():
        return None  # a longer name
    if part := _PART.fullmatch(suffix):
        total = part["total"]
        return FileName(suffix, int(part["number"] or part["copy"]), int(total) if total else None)
    if suffix.endswith(("~", "#")) or any(map(_NOT_A_DELIVERY.fullmatch, _words(suffix))):
        return None
    _, dot, tail = suffix.rpartition(".")
    if dot and not has_extension and not _NOT_AN_EXTENSION.fullmatch(tail):
        return None
    # Tools write to names such as trends.csv.6eF5b5da before they rename.
    return None if _inner_extension(formats).search(suffix) else FileName(suffix)


def choose_files(
    files: Iterable[DeliveredFile], name: str, *, parts: bool = False, formats: tuple[str, ...] = CSV
) -> tuple[DeliveredFile, ...]:
    """Return the file of an export, or its numbered parts in their order; nothing if it is not there yet.

    A file whose name may be another export's is chosen only if no other file matches.

    :param parts: whether the export may be delivered in parts.
    :param formats: the extensions that the file may have, as ``CSV``.
    :raises AmbiguousFileError: several files could be the delivered one.
    """
    matches = [(parsed, file) for file in files if (parsed := parse_file_name(file.name, name, formats))]
    ours = [match for match in matches if not match[0].may_be_another_exports] or matches
    if parts and ours and all(parsed.part is not None for parsed, _ in ours):
        return _in_order([(parsed, file) for parsed, file in ours], name)
    if len(ours) > 1:
        raise _ambiguous(name, [file for _, file in ours], are_parts=all(parsed.part is not None for parsed, _ in ours))
    return tuple(file for _, file in ours)


def _in_order(found: list[tuple[FileName, DeliveredFile]], name: str) -> tuple[DeliveredFile, ...]:
    """Return the parts in the order of their numbers; nothing while one is missing."""
    by_number = {parsed.part or 0: file for parsed, file in found}
    totals = {parsed.total for parsed, _ in found}
    if len(by_number) < len(found) or len(totals) > 1:
        raise _ambiguous(name, [file for _, file in found], are_parts=False)
    (total,) = totals
    numbers = sorted(by_number)
    expected = total or len(numbers)
    is_complete = numbers in (list(range(expected)), list(range(1, expected + 1)))
    return tuple(by_number[number] for number in numbers) if is_complete else ()


def _ambiguous(name: str, files: list[DeliveredFile], *, are_parts: bool) -> AmbiguousFileError:
    names = ", ".join(sorted(file.path for file in files)[:10])
    advice = (
        "Set parts=True to read numbered files as one, or source_path to read one of them."
        if are_parts
        else "Set source_path to the file to read, or remove the others."
    )
    return AmbiguousFileError(f"{len(files)} files could be that of export {name!r}: {names}. {advice}")


def _words(text: str) -> list[str]:
    return re.split(r"[^0-9a-z]+", text.lower())


def _split_extension(rest: str, formats: tuple[str, ...]) -> tuple[str, bool]:
    """Return what is left without the extension of a delivered file, and whether there was one."""
    extension = _extension(formats)
    for start in range(len(rest)):
        if rest[start] == "." and extension.fullmatch(rest, start):
            return rest[:start], True
    return rest, False


@cache
def _extension(formats: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"(?:\.(?:{'|'.join(formats)}))?(?:\.(?:gz|gzip|zip))?", re.IGNORECASE)


@cache
def _inner_extension(formats: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"\.(?:{'|'.join(formats)}|gz|zip)(?![0-9a-z])", re.IGNORECASE)
