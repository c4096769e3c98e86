"""Keep the code blocks of the documentation equal to the files that they come from: ``snippets.py [--write]``.

A block follows a comment that names its file, and a section of it between ``# [START name]`` and ``# [END name]``::

    <!-- snippet: docs/examples/start.sh#install -->

Without a section the block is the whole file. A block that shows what a command prints follows a comment that names the
command, ``<!-- printed by: make demo -->``, and has the language ``text``.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "cordial_sandbox/README.md", "docs/**/*.md")

_LANGUAGES = {".py": "python", ".sh": "bash", ".yaml": "yaml", ".json": "json", ".txt": "text", ".env": "ini"}
_BLOCK = re.compile(
    r"(?:^<!-- (?P<kind>snippet|printed by): (?P<source>.*?) -->\n)?"
    r"^(?P<fence>```+)(?P<language>\w*)\n(?P<code>.*?)^(?P=fence)\n",
    re.DOTALL | re.MULTILINE,
)
_MARK = re.compile(r"^\s*# \[(?:START|END) [\w-]+\]\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a block.

    :param line: of the page.
    """

    page: Path
    line: int
    text: str


def read_snippet(root: Path, source: str) -> tuple[str, str]:
    """Return the language and the code of a file, or of a section of it.

    :param source: ``path``, or ``path#section``.
    :raises ValueError: the file or the section does not exist.
    """
    name, _, section = source.partition("#")
    path = root / name
    if not path.is_file():
        msg = f"{name} does not exist."
        raise ValueError(msg)
    text = path.read_text(encoding="utf-8")
    if section:
        mark = re.escape(section)
        found = re.search(rf"^ *# \[START {mark}\]\n(.*?)^ *# \[END {mark}\]", text, re.DOTALL | re.MULTILINE)
        if found is None:
            msg = f"{name} has no section {section}."
            raise ValueError(msg)
        text = found[1]
    return _LANGUAGES.get(path.suffix, ""), textwrap.dedent(_MARK.sub("", text)).strip("\n") + "\n"


def render(root: Path, page: Path) -> tuple[str, list[Problem]]:
    """Return the page with its blocks as their files are, and what is wrong with it."""
    text = page.read_text(encoding="utf-8")
    problems: list[Problem] = []

    def replace(block: re.Match[str]) -> str:
        line = text.count("\n", 0, block.start()) + 1
        if block["kind"] == "printed by" and block["language"] == "text":
            return block[0]
        if block["kind"] != "snippet":
            problems.append(Problem(page, line, "a code block does not name the file that it comes from"))
            return block[0]
        try:
            language, code = read_snippet(root, block["source"])
        except ValueError as error:
            problems.append(Problem(page, line, str(error)))
            return block[0]
        return f"<!-- snippet: {block['source']} -->\n{block['fence']}{language}\n{code}{block['fence']}\n"

    rendered = _BLOCK.sub(replace, text)
    if rendered != text and not problems:
        problems.append(Problem(page, 1, "a code block differs from its file: run scripts/snippets.py --write"))
    return rendered, problems


def sources(root: Path) -> Iterator[str]:
    """Yield the files, with their sections, that the pages quote."""
    for page in pages(root):
        for block in _BLOCK.finditer(page.read_text(encoding="utf-8")):
            if block["kind"] == "snippet":
                yield block["source"]


def pages(root: Path) -> list[Path]:
    """Return the pages with code blocks."""
    return sorted(path for pattern in PAGES for path in root.glob(pattern))


def main(*, write: bool) -> int:
    failed = False
    for page in pages(PROJECT):
        rendered, problems = render(PROJECT, page)
        if write and rendered != page.read_text(encoding="utf-8"):
            page.write_text(rendered, encoding="utf-8")
            problems = render(PROJECT, page)[1]
        for problem in problems:
            failed = True
            print(f"{page.relative_to(PROJECT)}:{problem.line}: {problem.text}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(write="--write" in sys.argv[1:]))
