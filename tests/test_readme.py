"""The README matches the code."""

from __future__ import annotations

import re
from pathlib import Path

from keyturn.cli.docs import markdown

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def test_the_verbs_are_those_of_the_command_line() -> None:
    """To repair it, put the output of `python -m keyturn.cli.docs` between the two marks."""
    between = README.split("<!-- verbs -->\n")[1].split("<!-- /verbs -->")[0]
    assert between == markdown()


def test_every_file_that_it_names_is_there() -> None:
    named = re.findall(r"\]\(((?!https?:)[^)]+)\)", README) + re.findall(
        r"(?:tests|screenshots)/[\w./-]+\w", README
    )
    missing = [name for name in named if not (ROOT / name).exists()]
    assert not missing
