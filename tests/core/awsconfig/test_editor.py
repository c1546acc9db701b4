"""Edits of unusual files: the resulting bytes, and the refusals. Tables."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keyturn.awsconfig.editor import check_item, remove_items, set_items
from keyturn.awsconfig.parser import parse
from keyturn.model.errors import ChangeRefused, UsageError
from tests.core.awsconfig.single_edits import replace_section, restore_items

#: Name, contents before, section, the setting, contents after.
SETS: list[tuple[str, bytes, str, dict[str, str], bytes]] = [
    ("a tab before the sign", b"[s]\nk\t=old\n", "s", {"k": "new"}, b"[s]\nk\t= new\n"),
    ("a tab after the sign", b"[s]\nk =\told\n", "s", {"k": "new"}, b"[s]\nk =\tnew\n"),
    ("an empty value gets one", b"[s]\nk =\n", "s", {"k": "new"}, b"[s]\nk = new\n"),
    ("an empty value without spaces", b"[s]\nk=\n", "s", {"k": "new"}, b"[s]\nk=new\n"),
    ("a value that is emptied", b"[s]\nk = old\n", "s", {"k": ""}, b"[s]\nk = \n"),
    ("a colon in the value", b"[s]\nk = a:b\n", "s", {"k": "c:d=e"}, b"[s]\nk = c:d=e\n"),
    ("a value with the ending of the line in it", b"[s]\nk = XX\n", "s", {"k": "new"}, b"[s]\nk = new\n"),
    ("one changed, one new", b"[s]\nk = 1\nl = 2\n", "s", {"k": "9", "n": "3"},
     b"[s]\nk = 9\nl = 2\nn = 3\n"),
    ("two new in their order", b"[s]\nk = 1\n", "s", {"z": "1", "a": "2"}, b"[s]\nk = 1\nz = 1\na = 2\n"),
    ("the last setting's indentation", b"[s]\n  a = 1\nb = 2\n", "s", {"n": "3"},
     b"[s]\n  a = 1\nb = 2\nn = 3\n"),
    ("a setting's indentation, not its comment's", b"[s]\n# c\n  a = 1\n", "s", {"n": "3"},
     b"[s]\n# c\n  a = 1\n  n = 3\n"),
    ("after a value of two lines", b"[s]\na = 1\n  2\n", "s", {"n": "3"}, b"[s]\na = 1\n  2\nn = 3\n"),
    ("under an indented header", b"[r]\n  [s]\n", "s", {"n": "3"}, b"[r]\n  [s]\n  n = 3\n"),
    ("a header with comments only", b"[s]\n# c\n\n[t]\n", "s", {"n": "3"}, b"[s]\nn = 3\n# c\n\n[t]\n"),
    ("a new section after a blank line", b"[s]\nk = 1\n\n", "t", {"n": "3"}, b"[s]\nk = 1\n\n[t]\nn = 3\n"),
    ("a new section after blanks", b"[s]\nk = 1\n  \n", "t", {"n": "3"}, b"[s]\nk = 1\n  \n[t]\nn = 3\n"),
    ("a new section below a blank first line", b"\n[s]\nk = 1\n", "t", {"n": "3"},
     b"\n[s]\nk = 1\n\n[t]\nn = 3\n"),
    ("a new section below comments", b"# only\n", "t", {"n": "3"}, b"# only\n\n[t]\nn = 3\n"),
    ("a new section without settings", b"[s]\n", "t", {}, b"[s]\n\n[t]\n"),
    ("carriage returns", b"[s]\rk = 1\r", "t", {"n": "3"}, b"[s]\rk = 1\r\r[t]\rn = 3\r"),
    ("carriage returns, no last one", b"[s]\rk = 1", "s", {"n": "3"}, b"[s]\rk = 1\rn = 3\r"),
    ("carriage returns and line feeds, a new section", b"[s]\r\nk = 1\r\n", "t", {"n": "3"},
     b"[s]\r\nk = 1\r\n\r\n[t]\r\nn = 3\r\n"),
    ("mixed ends: in place, the line's own", b"[s]\nk = 1\r\nl = 2\n", "s", {"k": "9"},
     b"[s]\nk = 9\r\nl = 2\n"),
    ("nothing to set", b"[s]\nk   =  1\n", "s", {}, b"[s]\nk   =  1\n"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "section", "items", "after"), [case[1:] for case in SETS], ids=[case[0] for case in SETS]
)
def test_a_set_touches_only_its_lines(
    before: bytes, section: str, items: dict[str, str], after: bytes
) -> None:
    assert set_items(parse(before), section, items) == after
    assert set_items(parse(after), section, items) == after, "a second time changes nothing"


#: Name, contents before, the restored settings, contents after.
RESTORES: list[tuple[str, bytes, dict[str, str], bytes]] = [
    ("a value with a blank line in it", b"[s]\n", {"m": "one\n\ntwo"}, b"[s]\nm = one\n\n    two\n"),
    ("a nested block", b"[s]\n", {"s3": "\nk = v"}, b"[s]\ns3 = \n    k = v\n"),
    ("deeper than an indented key", b"[s]\n  a = 1\n", {"m": "x\ny"}, b"[s]\n  a = 1\n  m = x\n      y\n"),
    ("carriage returns and line feeds", b"[s]\r\n", {"m": "x\ny"}, b"[s]\r\nm = x\r\n    y\r\n"),
    ("in place of a longer one", b"[s]\nm = a\n  b\n  c\nz = 1\n", {"m": "x\ny"},
     b"[s]\nm = x\n    y\nz = 1\n"),
    ("what no new value may be", b"[s]\n", {"m": "x # y"}, b"[s]\nm = x # y\n"),
    ("into a new section", b"", {"m": "x\ny"}, b"[s]\nm = x\n    y\n"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "items", "after"), [case[1:] for case in RESTORES], ids=[case[0] for case in RESTORES]
)
def test_what_stood_in_such_a_file_is_restored(before: bytes, items: dict[str, str], after: bytes) -> None:
    found = restore_items(parse(before), "s", items)
    assert found == after
    assert {key: parse(found).sections[0].values[key] for key in items} == items


def test_a_setting_goes_before_another() -> None:
    document = parse(b"[s]\na = 1\nb = 2\n")
    assert set_items(document, "s", {"x": "9"}, before_key="b") == b"[s]\na = 1\nx = 9\nb = 2\n"
    indented = parse(b"[s]\n# c\n  b = 2\n")
    assert set_items(indented, "s", {"x": "9"}, before_key="b") == b"[s]\n# c\n  x = 9\n  b = 2\n"


def test_a_name_that_is_no_setting_of_the_section_is_before_nothing() -> None:
    document = parse(b"[s]\na = 1\n[t]\nx = 2\n")
    assert set_items(document, "s", {"n": "9"}, before_key="x") == b"[s]\na = 1\nn = 9\n[t]\nx = 2\n"
    for edit in (set_items, restore_items):
        assert edit(document, "t", {"n": "9"}) == b"[s]\na = 1\n[t]\nx = 2\nn = 9\n", "after it by default"


#: Name, before, keys, after.
REMOVALS: list[tuple[str, bytes, list[str], bytes]] = [
    ("a key that is not there", b"[s]\na = 1\n", ["b"], b"[s]\na = 1\n"),
    ("no key at all", b"[s]\na = 1\n", [], b"[s]\na = 1\n"),
    ("the only one", b"[s]\na = 1\n", ["a"], b"[s]\n"),
    ("the last one without a line end", b"[s]\na = 1\nb = 2", ["b"], b"[s]\na = 1\n"),
    ("comments of both kinds stay", b"[s]\na = 1\n  ; c\n  # d\n  2\nb = 3\n", ["a"],
     b"[s]\n  ; c\n  # d\nb = 3\n"),
    ("a key of a section below", b"[s]\na = 1\n[t]\na = 2\n", ["a"], b"[s]\n[t]\na = 2\n"),
    ("carriage returns", b"[s]\ra = 1\rb = 2\r", ["a"], b"[s]\rb = 2\r"),
    ("a key spelt in capitals", b"[s]\nAWS_Key = 1\n", ["aws_key"], b"[s]\n"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "keys", "after"), [case[1:] for case in REMOVALS], ids=[case[0] for case in REMOVALS]
)
def test_a_removal_takes_only_the_lines_of_its_keys(before: bytes, keys: list[str], after: bytes) -> None:
    assert remove_items(parse(before), "s", keys) == after


#: Name, contents before, section, new text, contents after.
REPLACEMENTS: list[tuple[str, bytes, str, bytes | None, bytes]] = [
    ("one that is not there is removed", b"[s]\na = 1", "u", None, b"[s]\na = 1"),
    ("one that is not there is emptied", b"[s]\na = 1", "u", b"", b"[s]\na = 1"),
    ("the only one is removed", b"[s]\na = 1\n", "s", None, b""),
    ("the last one, ended by nothing", b"[s]\na = 1\n[t]\nb = 2", "t", None, b"[s]\na = 1\n"),
    ("one in an empty file", b"", "u", b"[u]\nk = 1", b"[u]\nk = 1"),
    ("one after a file without a last line end", b"[s]", "u", b"[u]\n", b"[s]\n[u]\n"),
    ("by comments", b"[s]\na = 1\n[t]\n", "s", b"# gone", b"# gone\n[t]\n"),
    ("carriage returns", b"[s]\ra = 1\r[t]\r", "s", b"[s]\rz = 9\r", b"[s]\rz = 9\r[t]\r"),
    ("CRLF before the next one", b"[s]\r\na = 1\r\n[t]\r\n", "s", b"[s]", b"[s]\r\n[t]\r\n"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "section", "text", "after"),
    [case[1:] for case in REPLACEMENTS],
    ids=[case[0] for case in REPLACEMENTS],
)
def test_a_section_is_replaced_whole(before: bytes, section: str, text: bytes | None, after: bytes) -> None:
    assert replace_section(parse(before), section, text) == after


RIVALS = b'[profile a]\nk = 1\n[profile "a"]\nl = 2\n'
LEAK = b"[DEFAULT]\nk = 1\n[profile a]\nl = 2\n"
#: Name, before, an edit that is refused.
REFUSALS: list[tuple[str, bytes, Callable[[bytes, str], bytes]]] = [
    ("setting in DEFAULT", b"", lambda data, path: set_items(parse(data, path), "DEFAULT", {"k": "1"})),
    ("restoring in DEFAULT", b"", lambda data, path: restore_items(parse(data, path), "DEFAULT", {"k": "1"})),
    ("removing from DEFAULT", b"[DEFAULT]\nk = 1\n", lambda data,
     path: remove_items(parse(data, path), "DEFAULT", ["zz"])),
    ("removing from DEFAULT where none is", b"", lambda data,
     path: remove_items(parse(data, path), "DEFAULT", ["k"])),
    ("replacing DEFAULT", b"", lambda data, path: replace_section(parse(data, path), "DEFAULT", None)),
    ("setting in one of two", RIVALS, lambda data,
     path: set_items(parse(data, path), "profile a", {"k": "2"})),
    ("restoring in one of two", RIVALS, lambda data,
     path: restore_items(parse(data, path), "profile a", {"k": "2"})),
    ("removing from one of two", RIVALS, lambda data,
     path: remove_items(parse(data, path), "profile a", ["k"])),
    ("replacing one of two", RIVALS, lambda data,
     path: replace_section(parse(data, path), "profile a", None)),
    ("removing what DEFAULT gives", LEAK, lambda data,
     path: remove_items(parse(data, path), "profile a", ["k"])),
    ("a header that would become part of a value", b"[a]\nx = 1\n[b]\n    y = 1\n  [c]\n", lambda data,
     path: replace_section(parse(data, path), "b", None)),
    ("a file that could not be read", b"[a]\nx =\n  k = v\n[b]\n    y = 1\n  [c]\n", lambda data,
     path: replace_section(parse(data, path), "b", None)),
]  # fmt: skip


@pytest.mark.parametrize("path", ["/home/jo/.aws/config", ""])
@pytest.mark.parametrize(
    ("before", "edit"), [case[1:] for case in REFUSALS], ids=[case[0] for case in REFUSALS]
)
def test_what_would_be_misread_is_refused_with_the_name_of_the_file(
    path: str, before: bytes, edit: Callable[[bytes, str], bytes]
) -> None:
    with pytest.raises(ChangeRefused) as excinfo:
        edit(before, path)
    assert (path or "the file") in excinfo.value.line()
    assert ("the file" in excinfo.value.line()) is not bool(path)


def test_a_refused_removal_names_the_keys_that_default_gives() -> None:
    document = parse(b"[DEFAULT]\nb = 1\na = 2\n[s]\nc = 3\n")
    with pytest.raises(ChangeRefused, match=r"a, b"):
        remove_items(document, "s", ["c", "b", "a"])


@pytest.mark.parametrize("value", ["a\tb", "a#b", "a;b", "x=#", "", "ü", "日本", "a  b"])
def test_a_value_that_every_sdk_reads_passes(value: str) -> None:
    check_item("k_1", value)


@pytest.mark.parametrize(
    "value", ["a #b", "a\t#b", "a ;", "#", ";x", "a\x7f", "a\x9f", "a\u2029", "\ta", "a\u00a0"]
)
def test_a_value_that_some_sdk_cuts_or_strips_is_refused(value: str) -> None:
    with pytest.raises(UsageError):
        check_item("k", value)
