"""Forms of a line, row by row, against botocore; lines, edits and refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from keyturn.awsconfig.document import FileKind, header_for, parse, profile_of, remove_items, set_items
from keyturn.model.errors import ChangeRefused, KeyturnError, UnparsableFile, UsageError
from tests.core.awsconfig.conftest import raw_settings
from tests.core.awsconfig.single_edits import replace_section, restore_items

Judge = Callable[[bytes], tuple[str, Any]]

#: Name of the row, the file, the line that is refused (0: accepted).
ROWS = [
    ("same section twice", b"[profile a]\nk = 1\n[profile b]\n[profile a]\n", 4),
    ("same key twice", b"[a]\nk = 1\nk = 2\n", 3),
    ("same key twice but for case", b"[a]\nKey = 1\nkEY = 2\n", 3),
    ("default and profile default", b"[default]\nr = 1\n[profile default]\nq = 2\n", 0),
    ("quoted and plain header", b'[profile a]\nr = 1\n[profile "a"]\nq = 2\n', 0),
    ("byte order mark", b"\xef\xbb\xbf[default]\nr = 1\n", 1),
    ("byte order mark before a comment", b"\xef\xbb\xbf# c\n[default]\n", 1),
    ("CRLF", b"[default]\r\nr = 1\r\ns = 2\r\n", 0),
    ("lone CR inside a value", b"[default]\nr = 1\rs = 2\n", 0),
    ("inline comment", b"[default]\nr = us-east-1 # hi\n", 0),
    ("comment after a header", b"[profile foo] # note\nr = 1\n", 0),
    ("bracket in a comment after a header", b"[profile foo] # [b]\nr = 1\n", 0),
    ("indented header after a key", b"[a]\nr = 1\n  [profile foo]\n  s = 2\n", 0),
    ("spaces in the brackets", b"[ profile foo ]\nr = 1\n", 0),
    ("two spaces, tab", b"[profile  foo]\nr = 1\n[profile\tbar]\nr = 1\n", 0),
    ("three words", b"[profile foo bar]\nr = 1\n", 0),
    ("quoted names", b"[profile \"foo bar\"]\nr = 1\n[profile 'foo baz']\n", 0),
    ("apostrophe", b"[profile it's]\nr = 1\n", 0),
    ("backslash", b"[profile DOM\\user]\nr = 1\n", 0),
    ("hash and bracket in a name", b"[profile foo#bar]\n[profile foo]bar]\n", 0),
    ("profiles and profile-x", b"[profiles foo]\nr = 1\n[profile-x bar]\n", 0),
    ("other case, no prefix", b"[Profile foo]\nr = 1\n[bar]\nr = 2\n", 0),
    ("default section leaks", b"[DEFAULT]\nregion = x\n[a]\nr = 1\n[b]\nregion = y\n", 0),
    ("default section twice", b"[DEFAULT]\nregion = x\n[a]\nr = 1\n[DEFAULT]\noutput = y\n", 0),
    ("default section twice with one key", b"[DEFAULT]\nregion = x\n[a]\nr = 1\n[DEFAULT]\nregion = y\n", 6),
    ("key without equals sign", b"[a]\nr = 1\nnonsense\n", 3),
    ("empty value", b"[a]\nr =\ns = 1\n", 0),
    ("colon", b"[a]\nr: 1\n", 0),
    ("upper-case keys", b"[a]\nREGION = 1\n", 0),
    ("continuation", b"[a]\nregion = y\n  role_arn = x\n", 0),
    ("all keys indented", b"[a]\n  region = y\n  role_arn = x\n", 0),
    ("nested block", b"[a]\ns3 =\n  k = v\n  l = w = x\n", 0),
    ("nested block with a bad line", b"[a]\ns3 =\n  k = v\n\n  # c\n  bad\n", 6),
    ("nested block split by U+2028", "[a]\ns3 =\n  k = v\u2028l = w\n".encode(), 0),
    ("nested block split by U+2028, badly", "[a]\ns3 =\n  k = v\u2028l\n".encode(), 3),
    ("nested blocks split by other separators",
     b"[a]\ns3 =\n  k = v\x0bl = w\x0cm = x\x1cn = y\xc2\x85o = z\n", 0),
    ("bad nested block in DEFAULT that nobody shows", b"[DEFAULT]\ns3 =\n  bad\n", 0),
    ("bad nested block in DEFAULT that is hidden", b"[DEFAULT]\ns3 =\n  bad\n[a]\ns3 = x\n", 0),
    ("bad nested block in DEFAULT that shows", b"[DEFAULT]\ns3 =\n  bad\n[a]\nr = x\n", 3),
    ("percent, dollar, equals", b"[a]\nr = %(x)s $HOME a=b %\n", 0),
    ("quotes", b'[a]\nr = "us-east-1"\n', 0),
    ("not UTF-8", b"[a]\nr = 1\ns = \xff\n", 3),
    ("UTF-8 cut off", b"[a]\nr = 1\ns = \xc3", 3),
    ("a surrogate", b"[a]\ns = \xed\xa0\x80\n", 2),
    ("NUL", b"[a]\nr = \x00x\n", 0),
    ("text before the first header", b"\n# c\nr = 1\n[a]\n", 3),
    ("no key", b"[a]\n = 1\n", 2),
    ("empty header", b"[]\n", 1),
    ("empty header below a section", b"[a]\n[]\n", 2),
    ("header with one bracket", b"[a]\n[b\n", 2),
    ("empty", b"", 0),
    ("only comments", b"# a\n; b\n\n", 0),
    ("no line end at the end", b"[a]\nr = 1", 0),
    ("blank line inside a value", b"[a]\nr = 1\n\n  2\n\n# c\n\n  3\n\n", 0),
]  # fmt: skip


@pytest.mark.parametrize(("data", "line"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_file_is_read_or_refused_as_botocore_does(data: bytes, line: int, botocore_reads: Judge) -> None:
    verdict, settings = botocore_reads(data)
    assert verdict == ("refused" if line else "read")
    if not line:
        assert raw_settings(parse(data)) == settings
        return
    with pytest.raises(UnparsableFile) as excinfo:
        parse(data, "~/.aws/config")
    assert (excinfo.value.path, excinfo.value.lineno) == ("~/.aws/config", line)
    assert f"~/.aws/config, line {line}: " in excinfo.value.line()


def test_an_error_shows_no_value() -> None:
    for data in (b"[a]\nwJalrXUtnFEMI\n", b"wJalrXUtnFEMI = 1\n", b"[a]\ns3 =\n  wJalrXUtnFEMI\n"):
        with pytest.raises(UnparsableFile) as excinfo:
            parse(data)
        assert "wJalrXUtnFEMI" not in excinfo.value.line()


def test_no_repr_shows_a_value() -> None:
    document = parse(b"[a]\naws_secret_access_key = wJalrXUtnFEMI\n")
    section = document.sections[0]
    shown = repr((document, section, section.items, raw_settings(document)))
    assert "aws_secret_access_key" in shown
    assert "wJalrXUtnFEMI" not in shown


def test_sections_and_settings_know_their_lines() -> None:
    data = b"# top\n\n[profile a]\r\nr = 1\r\ns3 =\n  k = v\n\n  # c\n  l = w\n# tail\n\n[b]\nx = 1"
    first, second = parse(data).sections
    assert [(item.key, item.line, item.line_end) for item in first.items] == [("r", 4, 4), ("s3", 5, 9)]
    assert (first.line, first.line_end, second.line, second.line_end) == (3, 11, 12, 13)
    assert first.text(parse(data)) + second.text(parse(data)) == data[len(b"# top\n\n") :]


@pytest.mark.parametrize(
    ("data", "newline"),
    [(b"", "\n"), (b"[a]", "\n"), (b"[a]\nx=1\r\n", "\n"), (b"[a]\r\nx=1\n", "\r\n"), (b"[a]\rx=1", "\r")],
)
def test_the_newline_is_that_of_the_first_line(data: bytes, newline: str) -> None:
    assert parse(data).newline == newline


@pytest.mark.parametrize(
    ("section", "profile"),
    [
        ("default", "default"), ("profile default", "default"), ("profile a", "a"), ("profile  a", "a"),
        ('profile "foo bar"', "foo bar"), ("profile 'foo bar'", "foo bar"), ("profile foo bar", None),
        ("profile it's", None), ("profile DOM\\user", "DOMuser"), ('profile "DOM\\user"', "DOM\\user"),
        (" profile a ", None), ("profiles a", "a"), ("profile-x a", "a"), ("Profile a", None), ("a", None),
        ("sso-session a", None), ("services a", None), ("DEFAULT", None), ("profile", None), ("profile a]b",
         "a]b"),
    ],
)  # fmt: skip
def test_which_profile_a_header_of_the_config_file_names(section: str, profile: str | None) -> None:
    assert profile_of(FileKind.CONFIG, section) == profile


def test_names_in_the_credentials_file_are_literal() -> None:
    for section in ("a", "profile a", '"foo bar"', "foo bar", " foo ", "default", "it's"):
        assert profile_of(FileKind.CREDENTIALS, section) == section
        assert section != section.strip() or header_for(FileKind.CREDENTIALS, section) == section
    assert profile_of(FileKind.CREDENTIALS, "DEFAULT") is None


@pytest.mark.parametrize(
    ("profile", "header"),
    [
        ("default", "default"), ("a", "profile a"), ("foo bar", 'profile "foo bar"'), ("it's",
         'profile "it\'s"'),
        ("DOM\\user", 'profile "DOM\\\\user"'), ('q"q', 'profile "q\\"q"'), ("日本", "profile 日本"),
    ],
)  # fmt: skip
def test_a_new_header_is_read_back_as_its_profile(profile: str, header: str) -> None:
    assert header_for(FileKind.CONFIG, profile) == header
    (section,) = parse(f"[{header}]\n".encode()).sections
    assert profile_of(FileKind.CONFIG, section.name) == profile


@pytest.mark.parametrize(
    "profile",
    [
        "",
        "a\nb",
        "a\rb",
        "a]b",
        "[a",
        " a",
        "a ",
        "a\x00",
        "a\x1b[31m",
        "a\u2028b",
        "\x85",
        "DEFAULT",
        "\ud800",
    ],
)
def test_a_name_that_no_header_can_carry_is_refused(profile: str) -> None:
    with pytest.raises(UsageError):
        header_for(FileKind.CREDENTIALS, profile)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("k", "a\nb"), ("k", "a\rb"), ("k", "a\x00b"), ("k", "a\x85b"), ("k", "a\u2028b"), ("k", "a\x0bb"),
         ("k", "a\x1cb"),
        ("k", " a"), ("k", "a "), ("k", "#a"), ("k", ";a"), ("k", "a #b"), ("k", "a\t;b"), ("k", "\x1b[0m"),
         ("k", "\ud800"),
        ("K", "a"), ("k k", "a"), ("k=", "a"), ("", "a"), ("k\n", "a"), ("ü", "a"), ("[k", "a"),
    ],
)  # fmt: skip
def test_what_some_sdk_would_misread_is_refused_without_showing_it(key: str, value: str) -> None:
    secret = value + "wJalrXUtnFEMI" if not value.endswith(" ") else value
    with pytest.raises(UsageError) as excinfo:
        set_items(parse(b"[profile a]\n"), "profile a", {key: secret})
    assert "wJalr" not in excinfo.value.line()


@pytest.mark.parametrize(
    "value", ["a#b", "https://x.awsapps.com/start#/", "a;b", "a = b", '"/x y" z', "a\tb", ""]
)
def test_what_every_sdk_reads_is_written(value: str, botocore_reads: Judge) -> None:
    after = set_items(parse(b"[profile a]\n"), "profile a", {"k": value})
    assert botocore_reads(after)[1] == {"profile a": {"k": value}}


#: Name, contents before, the setting, contents after.
EDITS = [
    ("value in place", b"[s]\n  k   :  old\t\nl=1\n", {"k": "new"}, b"[s]\n  k   :  new\nl=1\n"),
    ("no spaces stay no spaces", b"[s]\nk=old\n", {"k": "new"}, b"[s]\nk=new\n"),
    ("upper-case key stays", b"[s]\nKey = old\n", {"key": "new"}, b"[s]\nKey = new\n"),
    ("a missing key follows the last one", b"[s]\nk = 1\n\n# next\n[t]\n", {"n": "2"},
     b"[s]\nk = 1\nn = 2\n\n# next\n[t]\n"),
    ("CRLF", b"[s]\r\nk = 1\r\n[t]\r\n", {"n": "2"}, b"[s]\r\nk = 1\r\nn = 2\r\n[t]\r\n"),
    ("no line end at the end", b"[s]\nk = 1", {"n": "2"}, b"[s]\nk = 1\nn = 2\n"),
    ("no line end at the end, in place", b"[s]\nk = 1", {"k": "2"}, b"[s]\nk = 2"),
    ("no line end after the header", b"[s]", {"n": "2"}, b"[s]\nn = 2\n"),
    ("a new section", b"[s]\nk = 1", {"t": "section"}, b"[s]\nk = 1\n\n[t]\nt = section\n"),
    ("indented like its neighbours", b"[s]\n  k = 1\n  [t]\n", {"n": "2"}, b"[s]\n  k = 1\n  n = 2\n  [t]\n"),
    ("an indented header below an empty section", b"[s]\n  [t]\n", {"n": "2"}, b"[s]\n  n = 2\n  [t]\n"),
    ("after a nested block", b"[s]\ns3 =\n  k = v\n[t]\n", {"n": "2"}, b"[s]\ns3 =\n  k = v\nn = 2\n[t]\n"),
    ("a nested block becomes a text", b"[s]\nk =\n  a = b\n# c\n  c = d\nl = 1\n", {"k": "x"},
     b"[s]\nk = x\n# c\nl = 1\n"),
    ("a comment inside a value stays", b"[s]\nk = 1\n  # c\n  2\n", {"k": "x"}, b"[s]\nk = x\n  # c\n"),
    ("an equal value stays as it is", b"[s]\nk   =   1  \n", {"k": "1"}, b"[s]\nk   =   1  \n"),
    ("an empty file", b"", {"t": "section"}, b"[t]\nt = section\n"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "items", "after"), [row[1:] for row in EDITS], ids=[row[0] for row in EDITS]
)
def test_an_edit_touches_only_its_lines(before: bytes, items: dict[str, str], after: bytes) -> None:
    section = "t" if "t" in items else "s"
    assert set_items(parse(before), section, items) == after
    assert set_items(parse(after), section, items) == after


def test_missing_keys_can_be_put_before_another() -> None:
    document = parse(b"[s]\na = 1\n# of b\n  \nb = 2\n")
    assert set_items(document, "s", {"x": "9"}, before_key="b") == b"[s]\na = 1\n# of b\n  \nx = 9\nb = 2\n"
    assert set_items(document, "s", {"x": "9"}, before_key="zz") == b"[s]\na = 1\n# of b\n  \nb = 2\nx = 9\n"


def test_removed_lines_leave_comments_and_neighbours() -> None:
    document = parse(b"[s]\na = 1\nb =\n  c = d\n\n  # inside\n  e = f\n# tail\ng = 2\n")
    assert remove_items(document, "s", ["b"]) == b"[s]\na = 1\n\n  # inside\n# tail\ng = 2\n"
    assert remove_items(document, "s", ["a", "g", "zz"]).count(b"=") == 3
    assert remove_items(document, "nothing", ["a"]) == document.data


def test_values_that_stood_there_can_be_put_back_as_they_were(botocore_reads: Judge) -> None:
    values = {"a": "x # y", "s3": "\nk = v\nl = w", "m": "one\n\ntwo", "e": ""}
    after = restore_items(parse(b"[s]\r\nz = 1"), "s", values)
    assert {i.key: i.value for i in parse(after).sections[0].items} == {"z": "1", **values}
    assert botocore_reads(after)[0] == "read"
    assert restore_items(parse(after), "s", values) == after
    with pytest.raises(ChangeRefused):
        restore_items(parse(b"[s]\n"), "s", {"k": "a\n# not read back"})


def test_a_section_is_replaced_or_removed_whole() -> None:
    document = parse(b"# top\n[s]\na = 1\n\n[t]\nb = 2")
    assert replace_section(document, "s", b"[s]\nz = 9\n") == b"# top\n[s]\nz = 9\n[t]\nb = 2"
    assert replace_section(document, "s", b"[s]\nz = 9") == b"# top\n[s]\nz = 9\n[t]\nb = 2"
    assert replace_section(document, "t", b"[t]\nz = 9") == b"# top\n[s]\na = 1\n\n[t]\nz = 9"
    assert replace_section(document, "s", None) == b"# top\n[t]\nb = 2"
    assert replace_section(document, "s", b"\n") == b"# top\n\n[t]\nb = 2"
    assert replace_section(document, "u", b"[u]\n") == b"# top\n[s]\na = 1\n\n[t]\nb = 2\n[u]\n"
    for text in (b"[t]\n", b"[s]\n[u]\n", b"[s]\nnonsense\n", b"a = 1\n"):
        with pytest.raises(UsageError):
            replace_section(document, "s", text)


def test_a_change_that_would_turn_lines_around_it_into_something_else_is_refused() -> None:
    document = parse(b"[a]\nx = 1\n  \n[b]\n    y = 1\n  [c]\n")
    with pytest.raises(ChangeRefused):
        replace_section(document, "b", None)
    with pytest.raises(ChangeRefused):
        replace_section(document, "b", b"[b]\nk = 1\n")


@pytest.mark.parametrize(
    "data",
    [
        b'[profile a]\nk = 1\n[profile "a"]\nl = 2\n',
        b"[default]\nk = 1\n[profile default]\n",
        b"[profile  a]\nk = 1\n",
    ],
)
def test_a_profile_under_several_headers_is_not_edited(data: bytes) -> None:
    document = parse(data)
    header = "default" if b"default" in data else "profile a"
    attempts: list[Callable[[], bytes]] = [
        lambda: set_items(document, header, {"k": "9"}),
        lambda: replace_section(document, header, f"[{header}]\n".encode()),
    ]
    for attempt in attempts:
        with pytest.raises(ChangeRefused, match="read only the last"):
            attempt()
    literal = parse(data, kind=FileKind.CREDENTIALS)
    assert b"k = 9" in set_items(literal, header, {"k": "9"})


def test_what_stands_in_default_is_not_edited_and_not_pretended_away() -> None:
    document = parse(b"[DEFAULT]\naws_access_key_id = AKIA\n[a]\nregion = x\n")
    edits: list[Callable[[], bytes]] = [
        lambda: set_items(document, "DEFAULT", {"k": "1"}),
        lambda: remove_items(document, "DEFAULT", ["aws_access_key_id"]),
        lambda: replace_section(document, "DEFAULT", None),
        lambda: remove_items(document, "a", ["aws_access_key_id"]),
    ]
    for edit in edits:
        with pytest.raises(ChangeRefused):
            edit()
    assert set_items(document, "a", {"aws_access_key_id": "AKIB"}).endswith(
        b"region = x\naws_access_key_id = AKIB\n"
    )


@pytest.mark.parametrize("header", ["a]\n[profile b", "a]b", "", "DEFAULT ", "x\x00"])
def test_a_new_section_cannot_smuggle_in_another(header: str) -> None:
    with pytest.raises(KeyturnError):
        set_items(parse(b""), header, {"k": "1"})
