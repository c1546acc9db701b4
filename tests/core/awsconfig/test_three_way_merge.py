"""Two edits of one file joined, and whether one is still there: the unusual files."""

from __future__ import annotations

import pytest

from keyturn.awsconfig.parser import parse
from keyturn.awsconfig.three_way_merge import is_still_applied, merge, settings

BASE = b"# top\n[a]\nx = 1\n[b]\nz = 3\n"
WITH_DEFAULT = b"[a]\nx = 1\n[DEFAULT]\nq = 1\n[b]\nz = 3\n"

#: Name, base, theirs, ours, what comes of it.
MERGES: list[tuple[str, bytes, bytes, bytes, bytes]] = [
    ("both changed the top: ours stays", BASE, BASE.replace(b"top", b"theirs"), BASE.replace(b"top", b"ours"),
     BASE.replace(b"top", b"ours")),
    ("only ours changed the top", BASE, BASE, BASE.replace(b"top", b"ours"), BASE.replace(b"top", b"ours")),
    ("theirs took the top away", BASE, BASE[6:], BASE + b"[c]\n", BASE[6:] + b"[c]\n"),
    ("a file that held only a comment", b"# only\n", b"# more\n", b"# only\n", b"# more\n"),
    ("a file that held nothing", b"", b"[a]\nx = 1\n", b"", b"[a]\nx = 1\n"),
    ("a comment in [DEFAULT] is no change of it", WITH_DEFAULT, WITH_DEFAULT.replace(b"q = 1", b"# c\nq = 1"),
     WITH_DEFAULT, WITH_DEFAULT),
    ("what stands after [DEFAULT] is joined", WITH_DEFAULT, WITH_DEFAULT.replace(b"z = 3", b"z = 4"),
     WITH_DEFAULT, WITH_DEFAULT.replace(b"z = 3", b"z = 4")),
    ("theirs made a section that ours made too", BASE, BASE + b"[c]\nk = 1\n", BASE + b"[c]\nl = 2\n",
     BASE + b"[c]\nl = 2\nk = 1\n"),
    ("both changed it to the same", BASE, BASE.replace(b"x = 1", b"x = 2"), BASE.replace(b"x = 1", b"x = 2"),
     BASE.replace(b"x = 1", b"x = 2")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("base", "theirs", "ours", "result"), [case[1:] for case in MERGES], ids=[case[0] for case in MERGES]
)
def test_what_they_changed_comes_on_top(base: bytes, theirs: bytes, ours: bytes, result: bytes) -> None:
    assert merge(parse(base), parse(theirs), parse(ours)) == result


AFTER = BASE.replace(b"x = 1", b"x = 9")
#: Name, before, after, now, whether the edit is there.
STILL: list[tuple[str, bytes, bytes, bytes, bool]] = [
    ("a section that it left alone is gone", BASE, AFTER, b"[a]\nx = 9\n", True),
    ("a section that somebody made", BASE, AFTER, AFTER + b"[c]\n", True),
    ("its section is gone", BASE, AFTER, b"[b]\nz = 3\n", False),
    ("a setting that it removed is back", BASE, BASE.replace(b"z = 3\n", b""), BASE, False),
    ("a setting that it removed stays away", BASE, BASE.replace(b"z = 3\n", b""), b"[a]\nx = 1\n[b]\n", True),
    ("a setting that it left alone has changed", BASE, AFTER, AFTER.replace(b"z = 3", b"z = 4"), True),
    ("an empty section that it made is gone", BASE, BASE + b"[c]\n", BASE, False),
    ("it changed nothing", BASE, BASE, b"", True),
]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "now", "there"), [case[1:] for case in STILL], ids=[case[0] for case in STILL]
)
def test_an_edit_is_there_if_what_it_changed_is(before: bytes, after: bytes, now: bytes, there: bool) -> None:
    assert is_still_applied(parse(before), parse(after), parse(now)) is there


def test_all_default_sections_count_as_one() -> None:
    document = parse(b"[DEFAULT]\na = 1\n[s]\nk =\n  x = y\n[DEFAULT]\nb = 2\n")
    assert settings(document) == {"DEFAULT": {"a": "1", "b": "2"}, "s": {"k": "\nx = y"}}
