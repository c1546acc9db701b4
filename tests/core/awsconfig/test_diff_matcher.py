"""Lines that two versions share: correct for any lines, and fast for very many."""

from __future__ import annotations

import difflib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn.awsconfig.diff import Matcher, anchors, diff

LINES = st.lists(st.sampled_from(["", "[a]", "[b]", "region = x", "[c]", "key = y", "role = z"]), max_size=30)


def keyed_lines(texts: list[str]) -> list[tuple[object, str]]:
    return [(text, text) for text in texts]


@given(LINES, LINES)
@settings(max_examples=400)
def test_the_codes_turn_one_version_into_the_other(old: list[str], new: list[str]) -> None:
    lines: list[tuple[object, str]] = []
    at = 0
    for tag, start, stop, there, end in Matcher(
        None, keyed_lines(old), keyed_lines(new), autojunk=False
    ).get_opcodes():
        assert start == at
        at = stop
        lines += keyed_lines(old)[start:stop] if tag == "equal" else keyed_lines(new)[there:end]
    assert at == len(old)
    assert lines == keyed_lines(new)


@given(LINES, LINES)
@settings(max_examples=200)
def test_anchors_are_in_the_order_of_both_and_single_in_each(old: list[str], new: list[str]) -> None:
    found = anchors(keyed_lines(old), keyed_lines(new))
    assert found == sorted(set(found))
    assert [there for _, there in found] == sorted({there for _, there in found})
    for at, there in found:
        assert old[at] == new[there]
        assert old.count(old[at]) == new.count(old[at]) == 1


def test_far_changes_in_ten_thousand_sections_compare_few_lines(monkeypatch: Any) -> None:
    compared = []
    matcher = difflib.SequenceMatcher

    def counted(junk: None, old: list[Any], new: list[Any], **rest: bool) -> Any:
        compared.append(len(old) + len(new))
        return matcher(junk, old, new, **rest)

    monkeypatch.setattr("difflib.SequenceMatcher", counted)
    sections = [f"[profile p{number}]\nregion = eu-west-1\n\n" for number in range(10_000)]
    before = "".join(sections)
    sections[3] = "[profile p3]\nregion = eu-west-2\n\n"
    sections[9_990] = "[profile p9990]\noutput = json\nregion = eu-west-1\n\n"
    found = diff("config", before.encode(), "".join(sections).encode())
    assert [str(line.text) for line in found if line.sign in "+-"] == [
        "region = eu-west-1",
        "region = eu-west-2",
        "output = json",
    ]
    assert sum(compared) < 100
