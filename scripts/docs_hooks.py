"""Hooks of the documentation's build: the code blocks are those of their files, and the changelog is the project's."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT / "scripts"))

import snippets  # noqa: E402 - of the folder above


def on_pre_build(config: Any) -> None:  # noqa: ARG001
    """Fail the build if a code block is not that of its file."""
    from mkdocs.exceptions import PluginError

    problems = [problem for page in snippets.pages(PROJECT) for problem in snippets.render(PROJECT, page)[1]]
    if problems:
        raise PluginError("\n".join(f"{one.page}:{one.line}: {one.text}" for one in problems))


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:  # noqa: ARG001
    """Put the project's changelog into its page."""
    if page.file.src_uri != "changelog.md":
        return markdown
    return (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")
