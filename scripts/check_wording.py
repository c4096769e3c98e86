"""Reject phrases that the project's wording does not use.

Checks the comments, docstrings, strings, and names of functions and classes in the Python files, and the text of the
Markdown files. A line that quotes a foreign text is exempt if it contains ``wording: allow``.

Usage: ``python scripts/check_wording.py [root]``. Prints ``path:line: phrase: use ...`` for each hit and exits with 1,
or prints the number of checked files and exits with 0.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

PYTHON_FOLDERS = ("airflow_provider_cordial", "cordial_sandbox", "tests", "benchmarks", "scripts", "example_dags")
MARKDOWN = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "cordial_sandbox/README.md", "docs/**/*.md")

#: These files have to quote the phrases.
EXEMPT = ("scripts/check_wording.py", "tests/unit/test_wording.py")

ALLOW = "wording: allow"

#: What to use instead of each phrase. A space matches any whitespace, including a line break.
PHRASES = {
    r"(?-i:(?<!there\s)is none)": "'is invalid', 'is missing', or what was expected",
    r"(?<!there\s)is (?:of )?no (?!longer\b)[a-z]+": "'is not a ...' or what was expected",
    r"are no [a-z]+ of": "'are not ... of'",
    r"none that": "'no ... that' or what was expected",
    r"of which none": "'none of which'",
    r"heed(?:s|ed)?": "honor, apply",
    r"turned away": "rejected",
    r"may pass": "'is temporary' or 'can pass'",
    r"(?:goes|go|going|went) on": "continue, resume, proceed",
    r"look(?:s|ed)? at": "poll, check, read, inspect",
    r"a look": "a poll, a lookup, a check",
    r"looks": "polls, checks, 'appears'",
    r"(?:is|was|be|been|were) told": "is notified, is given, receives",
    r"tells": "returns, reports, states",
    r"heard of": "known, received",
    r"saw": "observed, received",
    r"but for": "except, except for",
    r"all that": "everything that, all ... that",
    r"for ever": "forever, without a limit",
    r"anew": "again, from the start",
    r"(?:held?|holds?) against": "compared with, checked against",
    r"bears": "has, carries",
    r"what may": "'which ... can' or the noun itself",
    r"that may not": "that must not, that cannot",
    r"oftener": "more often",
    r"of one's own": "custom, its own",
    r"takes? note of": "records",
    r"lets? go of": "releases, stops",
    "\N{EM DASH}": "a comma, a colon, or a new sentence",
}


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of text to check.

    :param line: number of its first line in the file.
    """

    line: int
    content: str


@dataclass(frozen=True, slots=True)
class Hit:
    line: int
    phrase: str
    replacement: str


def find_phrases(source: str, texts: Iterable[Text]) -> list[Hit]:
    """Return the hits in the texts of a file, except those on lines with the escape."""
    lines = source.split("\n")
    hits = {
        Hit(line, " ".join(match.group().split()), replacement)
        for text in texts
        for pattern, replacement in _COMPILED
        for match in pattern.finditer(text.content)
        if ALLOW not in lines[(line := text.line + text.content.count("\n", 0, match.start())) - 1]
    }
    return sorted(hits, key=lambda hit: (hit.line, hit.phrase))


def read_python(source: str) -> Iterator[Text]:
    """Return the comments, the strings, and the names of functions and classes, but no other code."""
    yield from _read_tokens(source)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield Text(node.lineno, _split_name(node.name))


def check_file(path: Path) -> list[Hit]:
    source = path.read_text(encoding="utf-8")
    return find_phrases(source, read_python(source) if path.suffix == ".py" else [Text(1, source)])


def list_files(root: Path) -> list[Path]:
    """Return the files to check."""
    python = (path for folder in PYTHON_FOLDERS for path in (root / folder).rglob("*.py"))
    markdown = (path for pattern in MARKDOWN for path in root.glob(pattern))
    exempt = {root / name for name in EXEMPT}
    return sorted(path for path in {*python, *markdown} - exempt if path.is_file())


def main(root: Path) -> int:
    files = list_files(root)
    found = [(path, hit) for path in files for hit in check_file(path)]
    for path, hit in found:
        print(f"{path.relative_to(root)}:{hit.line}: {hit.phrase}: use {hit.replacement}")
    if not found:
        print(f"checked files: {len(files)}")
    return 1 if found else 0


def _compile(phrase: str) -> re.Pattern[str]:
    pattern = phrase.replace(" ", r"\s+")
    return re.compile(rf"\b{pattern}\b" if phrase.isascii() else pattern, re.IGNORECASE)


_COMPILED = [(_compile(phrase), replacement) for phrase, replacement in PHRASES.items()]


def _read_tokens(source: str) -> Iterator[Text]:
    # FSTRING_MIDDLE exists since Python 3.12; before, an f-string is one STRING token.
    strings = {tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    comment: list[str] = []
    last = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        line = token.start[0]
        if token.type == tokenize.COMMENT:
            # Consecutive comment lines are one text, so that a phrase across a line break is found.
            if comment and line != last + 1:
                yield Text(last - len(comment) + 1, "\n".join(comment))
                comment = []
            comment.append(token.string.lstrip("#:"))
            last = line
        elif token.type in strings:
            yield Text(line, token.string)
    if comment:
        yield Text(last - len(comment) + 1, "\n".join(comment))


def _split_name(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).replace("_", " ").lower()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1]).resolve()))
