"""Section headers by botocore's rules: their names, the headers with the same name, and the written form.
Tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from keyturn.awsconfig.parser import FileKind, parse
from keyturn.awsconfig.section_names import (
    check_header,
    duplicate_sections,
    entry_of,
    header_for,
    profile_of,
    require_unique_name,
)
from keyturn.model.errors import ChangeRefused, UsageError

CONFIG, CREDENTIALS = FileKind.CONFIG, FileKind.CREDENTIALS

#: Header, then its table and name.
ENTRIES: list[tuple[str, tuple[str, str | None]]] = [
    ("default", ("profiles", "default")),
    ("DEFAULT", ("", None)),
    ("profile a", ("profiles", "a")),
    ("profile default", ("profiles", "default")),
    ("profile\ta", ("profiles", "a")),
    ("profile   a", ("profiles", "a")),
    ("profile a ", ("profiles", "a")),
    ("profiles a", ("profiles", "a")),
    ("profile", ("profiles", None)),
    ("profile ", ("profiles", None)),
    ("profile a b", ("profiles", None)),
    ('profile "a b"', ("profiles", "a b")),
    ("profile 'a b'", ("profiles", "a b")),
    ('profile "a', ("profiles", None)),
    ("profile DOM\\user", ("profiles", "DOMuser")),
    ('profile ""', ("profiles", "")),
    ("sso-session corp", ("sso_sessions", "corp")),
    ("sso-session", ("sso_sessions", None)),
    ("sso-session a b", ("sso_sessions", None)),
    ("services s", ("services", "s")),
    ("services", ("services", None)),
    ("Profile a", ("", "Profile a")),
    (" profile a", ("", " profile a")),
    ("a", ("", "a")),
    ("default ", ("", "default ")),
]  # fmt: skip


@pytest.mark.parametrize(("header", "entry"), ENTRIES)
def test_botocore_files_a_section_by_its_header(header: str, entry: tuple[str, str | None]) -> None:
    assert entry_of(header) == entry
    assert profile_of(CONFIG, header) == (entry[1] if entry[0] == "profiles" else None)
    assert profile_of(CREDENTIALS, header) == (None if header == "DEFAULT" else header)


def test_the_table_of_headers_is_botocores(botocore_reads: Callable[[bytes], tuple[str, Any]]) -> None:
    """The reference is botocore's own mapping of raw sections."""
    from botocore.configloader import build_profile_map

    for header, (table, name) in ENTRIES:
        verdict, raw = botocore_reads(f"[{header}]\nk = v\n".encode())
        assert verdict == "read", header
        built = build_profile_map(raw)
        tables = {key: built.pop(key) for key in ("profiles", "sso_sessions", "services")}
        expected = tables[table] if table else built
        assert list(expected) == ([] if name is None else [name]), header


#: Kind, file, header, the other headers of the same entry.
SAME: list[tuple[FileKind, bytes, str, list[str]]] = [
    (CONFIG, b"[profile a]\n[profile b]\n", "profile a", []),
    (CONFIG, b'[profile a]\n[profile "a"]\n[profile b]\n', "profile a", ['profile "a"']),
    (CONFIG, b'[profile a]\n[profile "a"]\n[profile b]\n', 'profile "a"', ["profile a"]),
    (CONFIG, b"[default]\n[profile default]\n", "default", ["profile default"]),
    (CONFIG, b"[default]\n[profile default]\n", "profile default", ["default"]),
    (CONFIG, b"[sso-session c]\n[sso-session  c]\n[profile c]\n", "sso-session c", ["sso-session  c"]),
    (CONFIG, b"[services c]\n[services 'c']\n[sso-session c]\n", "services c", ["services 'c'"]),
    (CONFIG, b"[profile a b]\n[profile c d]\n", "profile a b", []),
    (CONFIG, b"[a]\n[b]\n", "a", []),
    (CONFIG, b"[profile a]\n", "profile  a", ["profile a"]),
    (CREDENTIALS, b'[profile a]\n[profile "a"]\n', "profile a", []),
]


@pytest.mark.parametrize(("kind", "data", "header", "other_headers"), SAME, ids=range(len(SAME)))
def test_sections_that_name_the_same_are_rivals(
    kind: FileKind, data: bytes, header: str, other_headers: list[str]
) -> None:
    document = parse(data, "config", kind)
    if not other_headers:
        require_unique_name(document, header)
        return
    with pytest.raises(ChangeRefused) as excinfo:
        require_unique_name(document, header)
    assert all(f"[{other}]" in excinfo.value.why for other in other_headers)
    first = next(section for section in document.sections if section.name == other_headers[0])
    assert f"line {first.line}" in excinfo.value.why


def test_all_rivals_are_named_with_their_lines() -> None:
    document = parse(b'[profile a]\n[profile "a"]\n[profile  a]\n')
    with pytest.raises(
        ChangeRefused, match=r"\[profile \"a\"\] on line 2, \[profile  a\] on line 3"
    ) as excinfo:
        require_unique_name(document, "profile a")
    assert "the file" in excinfo.value.what
    with pytest.raises(ChangeRefused, match="/x/config"):
        require_unique_name(parse(document.data, "/x/config"), "profile a")


#: Kind, file, pairs of lines: the earlier and the later section of one name.
DOUBLES: list[tuple[FileKind, bytes, list[tuple[int, int]]]] = [
    (CONFIG, b"[profile a]\n[profile b]\n", []),
    (CONFIG, b'[profile x y]\n[a]\n[profile a]\n[profile "a"]\n[profile  a]\n', [(3, 4), (4, 5)]),
    (CONFIG, b"[profile x y]\n[profile z w]\n", []),
    (CONFIG, b"[sso-session a]\n[profile a]\n[services a]\n", []),
    (CONFIG, b"[sso-session a]\n[sso-session 'a']\n", [(1, 2)]),
    (CONFIG, b"[a]\n[b]\n", []),
    (CREDENTIALS, b'[profile a]\n[profile "a"]\n', []),
]


@pytest.mark.parametrize(("kind", "data", "pairs"), DOUBLES, ids=range(len(DOUBLES)))
def test_the_later_of_two_sections_of_one_name_is_read(
    kind: FileKind, data: bytes, pairs: list[tuple[int, int]]
) -> None:
    assert [(one.line, two.line) for one, two in duplicate_sections(parse(data, kind=kind))] == pairs


@pytest.mark.parametrize(("kind", "profiles"), [(CONFIG, ["a", "b", "a", None]), (CREDENTIALS, [
    "profile a", "profile b", 'profile "a"', "a"
])])  # fmt: skip
def test_each_section_names_the_profile_that_its_kind_of_file_says(
    kind: FileKind, profiles: list[str | None]
) -> None:
    document = parse(b'[profile a]\n[profile b]\n[profile "a"]\n[a]\n', kind=kind)
    assert [profile_of(kind, section.name) for section in document.sections] == profiles


#: Profile, its header in the config file, its header in the credentials file.
HEADERS = [
    ("a", "profile a", "a"),
    ("default", "default", "default"),
    ("a b", 'profile "a b"', "a b"),
    ("it's", 'profile "it\'s"', "it's"),
    ('q"q', 'profile "q\\"q"', 'q"q'),
    ("DOM\\u", 'profile "DOM\\\\u"', "DOM\\u"),
    ("profile a", 'profile "profile a"', "profile a"),
]


@pytest.mark.parametrize(("profile", "config", "credentials"), HEADERS)
def test_a_profile_gets_the_header_that_is_read_back_as_it(
    profile: str, config: str, credentials: str
) -> None:
    assert (header_for(CONFIG, profile), header_for(CREDENTIALS, profile)) == (config, credentials)
    assert profile_of(CONFIG, config) == profile


@pytest.mark.parametrize("name", ["", "DEFAULT", " a", "a ", "a[b", "a]b", "a\nb", "a\x7f", "a\u2028"])
def test_a_name_that_no_header_of_the_credentials_file_carries_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        header_for(CREDENTIALS, name)


@pytest.mark.parametrize("header", ["", "DEFAULT"])
def test_an_empty_header_and_default_are_no_profiles_header(header: str) -> None:
    with pytest.raises(UsageError) as excinfo:
        check_header(header)
    assert (header or "empty") in excinfo.value.why
    assert ("empty" in excinfo.value.why) is not bool(header)
