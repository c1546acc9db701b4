"""Merge of two edits of one file, and the check that an edit is still there."""

from __future__ import annotations

import pytest

from keyturn.awsconfig.document import parse
from keyturn.awsconfig.three_way_merge import is_still_applied, merge
from keyturn.model.errors import ChangeRefused

BASE = b"# top\n[a]\nx = 1\ny = 2\n[b]\nz = 3\n"


@pytest.mark.parametrize(
    ("theirs", "ours", "result"),
    [
        (BASE, BASE, BASE),
        (BASE, BASE + b"[c]\n", BASE + b"[c]\n"),
        (BASE + b"[c]\n", BASE, BASE + b"[c]\n"),
        (BASE + b"[c]\nk = 1\n", BASE + b"[d]\n", BASE + b"[d]\n[c]\nk = 1\n"),
        (BASE.replace(b"x = 1", b"x = 9"), BASE.replace(b"y = 2", b"y = 8"),
         b"# top\n[a]\nx = 9\ny = 8\n[b]\nz = 3\n"),
        (BASE.replace(b"x = 1\n", b""), BASE.replace(b"y = 2", b"y = 8"), b"# top\n[a]\ny = 8\n[b]\nz = 3\n"),
        (BASE.replace(b"x = 1", b"x = 9"), BASE.replace(b"x = 1", b"x = 7"),
         BASE.replace(b"x = 1", b"x = 9")),
        (BASE.replace(b"[b]\nz = 3\n", b""), BASE, b"# top\n[a]\nx = 1\ny = 2\n"),
        (BASE, BASE.replace(b"[b]\nz = 3\n", b""), b"# top\n[a]\nx = 1\ny = 2\n"),
        (BASE.replace(b"z = 3", b"z = 3\nw = 4"), BASE.replace(b"[b]\nz = 3\n", b""),
         b"# top\n[a]\nx = 1\ny = 2\n\n[b]\nw = 4\n"),
        (b"# new\n" + BASE, BASE + b"[c]\n", b"# new\n" + BASE + b"[c]\n"),
    ],
    ids=range(11),
)  # fmt: skip
def test_what_they_changed_is_put_on_top_of_ours(theirs: bytes, ours: bytes, result: bytes) -> None:
    assert merge(parse(BASE), parse(theirs), parse(ours)) == result


def test_a_change_of_default_is_not_joined_but_told() -> None:
    with pytest.raises(ChangeRefused):
        merge(parse(BASE), parse(BASE + b"[DEFAULT]\nq = 1\n"), parse(BASE + b"[c]\n"))


@pytest.mark.parametrize(
    ("now", "there"),
    [
        (BASE.replace(b"x = 1", b"x = 9"), True),
        (BASE.replace(b"x = 1", b"x = 9").replace(b"z = 3", b"z = 4") + b"[c]\n", True),
        (BASE, False),
        (BASE.replace(b"x = 1", b"x = 8"), False),
        (b"", False),
    ],
)
def test_an_edit_is_there_if_all_that_it_changed_is(now: bytes, there: bool) -> None:
    assert is_still_applied(parse(BASE), parse(BASE.replace(b"x = 1", b"x = 9")), parse(now)) is there


def test_a_section_made_or_removed_counts_even_if_it_is_empty() -> None:
    longer = BASE + b"[c]\n"
    assert is_still_applied(parse(BASE), parse(longer), parse(longer))
    assert not is_still_applied(parse(BASE), parse(longer), parse(BASE))
    assert is_still_applied(parse(longer), parse(BASE), parse(BASE))
    assert not is_still_applied(parse(longer), parse(BASE), parse(longer))
