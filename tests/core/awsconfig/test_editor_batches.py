"""Several edits of one file together give the same bytes as one after the other."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn.awsconfig import parser
from keyturn.awsconfig.document import Document, Editor, FileKind, Section, edit, parse
from keyturn.model.errors import ChangeRefused, UnparsableFile

Change = Callable[[Editor], None]

HEADERS = ["a", "b", "c", "d"]
KEYS = ["k", "l", "role_arn"]
values = st.sampled_from(["1", "x y", "3 = 4"])
items = st.dictionaries(st.sampled_from(KEYS), values, min_size=1, max_size=2)
lines = st.sampled_from(["k = 1", "  l = 2", "role_arn = x\n    more", "# c", "", "l: 3"])
sections = st.lists(st.tuples(st.sampled_from(HEADERS), st.lists(lines, max_size=4)), max_size=4)
changes = st.one_of(
    st.builds(
        lambda header, table: lambda editor: editor.set_items(header, table), st.sampled_from(HEADERS), items
    ),
    st.builds(
        lambda header, keys: lambda editor: editor.remove_items(header, keys),
        st.sampled_from(HEADERS),
        st.sets(st.sampled_from(KEYS)),
    ),
    st.builds(
        lambda header, text: (
            lambda editor: editor.replace_section(header, text and f"[{header}]\n{text}".encode())
        ),
        st.sampled_from(HEADERS),
        st.sampled_from([None, "k = 9\n", "k = 9", "\n# c\n"]),
    ),
)


def one_after_the_other(document: Document, wanted: list[Change]) -> bytes:
    for change in wanted:
        document = document.reparse(edit(document, change))
    return document.data


@settings(max_examples=400, deadline=None)
@given(sections, st.lists(changes, max_size=5), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_edits_together_are_edits_one_after_the_other(
    found: list[tuple[str, list[str]]], wanted: list[Change], newline: str, ends: bool
) -> None:
    unique = dict(found)
    text = newline.join(["# top", *(line for header in unique for line in (f"[{header}]", *unique[header]))])
    data = (text + newline if ends else text).replace("\n", newline).replace("\r\r", "\r").encode()
    try:
        document = parse(data, "file", FileKind.CREDENTIALS)
        expected = one_after_the_other(document, wanted)
    except (ChangeRefused, UnparsableFile):
        return

    def all_of_them(editor: Editor) -> None:
        for change in wanted:
            change(editor)

    assert edit(document, all_of_them) == expected


def test_a_removed_section_takes_the_blank_line_before_it_along() -> None:
    document = parse(b"[a]\nk = 1\n\n[b]\nk = 2\n\n[c]\nk = 3\n", "file", FileKind.CREDENTIALS)

    def remove(editor: Editor) -> None:
        for header in ("c", "b"):
            editor.remove_section(header, lead=b"\n")

    assert edit(document, remove) == b"[a]\nk = 1\n"


def test_two_lines_never_become_one() -> None:
    document = parse(b"[a]\nk = 1\n\n[b]\nk = 2\n[c]\n", "file", FileKind.CREDENTIALS)
    assert edit(document, lambda editor: editor.remove_section("b", lead=b"\n\n")) == b"[a]\nk = 1\n[c]\n"


def test_a_refusal_names_the_section_that_was_edited() -> None:
    document = parse(b"[c]\n[a]\n  k = 1\n  [b]\nl = 2\n", "file", FileKind.CREDENTIALS)

    def change(editor: Editor) -> None:
        editor.set_items("c", {"k": "1"})
        editor.replace_section("a", b"[a]\nk = 1\n")  # the indented header becomes a part of its value

    with pytest.raises(ChangeRefused, match=r"\[a\]"):
        edit(document, change)


def test_a_file_is_parsed_once_for_many_edits(monkeypatch: pytest.MonkeyPatch) -> None:
    text = b"".join(b"[s%d]\nk = 1\n" % number for number in range(200))
    document = parse(text, "file", FileKind.CREDENTIALS)
    parsed: list[int] = []
    real = parser.parse_sections

    def counted(data: bytes, path: str = "") -> tuple[Section, ...]:
        parsed.append(len(data))
        return real(data, path)

    monkeypatch.setattr(parser, "parse_sections", counted)
    monkeypatch.setattr("keyturn.awsconfig.editor.parse_sections", counted)

    def change(editor: Editor) -> None:
        for number in range(200):
            editor.set_items(f"s{number}", {"k": "2", "l": "3"})

    assert edit(document, change).count(b"l = 3") == 200
    whole = [size for size in parsed if size >= len(text)]
    assert len(whole) == 1
    assert sum(parsed) < 5 * len(text)
