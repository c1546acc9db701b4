"""Delivery into the credentials file: the bytes before and after, and the settings left alone. Tables."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

import pytest

from keyturn.awsconfig.document import Document, Editor, FileKind, edit, parse
from keyturn.delivery import credentials_file
from keyturn.model.errors import ChangeRefused, UsageError
from keyturn.model.profile import Credentials
from keyturn.model.secret import Secret

ENDS = datetime(2026, 11, 23, 13, 0, tzinfo=UTC)
SESSION = Credentials("ASIANEW", Secret("s1"), Secret("t1"), ENDS)
TEXT = (
    "aws_access_key_id = ASIANEW\naws_secret_access_key = s1\naws_session_token = t1\naws_expiration = "
    "2026-11-23T13:00:00Z\n"
)
OLD = TEXT.replace("ASIANEW", "ASIAOLD").replace("s1", "s0").replace("t1", "t0").replace("13:00", "12:00")


def document(text: str) -> Document:
    return parse(text.encode(), "credentials", FileKind.CREDENTIALS)


def put_section(
    file: Document,
    section: str,
    session: Credentials,
    own_key_ids: Collection[str],
    region: str | None = None,
) -> bytes:
    return edit(
        file, lambda editor: credentials_file.put_section(editor, section, session, own_key_ids, region)
    )


def withdraw(
    file: Document,
    section: str,
    own_key_ids: Collection[str],
    *,
    is_created: bool = False,
    region: str | None = None,
) -> bytes:
    def change(editor: Editor) -> None:
        credentials_file.withdraw(editor, section, own_key_ids, is_created=is_created, region=region)

    return edit(file, change)


def test_what_goes_into_the_section_holds_no_more_than_is_known() -> None:
    assert credentials_file.items(SESSION) == {
        "aws_access_key_id": "ASIANEW", "aws_secret_access_key": "s1", "aws_session_token": "t1",
        "aws_expiration": "2026-11-23T13:00:00Z",
    }  # fmt: skip
    bare = Credentials("AKIA", Secret("s"))
    assert credentials_file.items(bare) == {"aws_access_key_id": "AKIA", "aws_secret_access_key": "s"}


#: Name, contents before, keyturn's key IDs, region, contents after.
PUTS: list[tuple[str, str, set[str], str | None, str]] = [
    ("an empty file", "", set(), None, f"[ci]\n{TEXT}"),
    ("a new section", "[a]\nk = 1\n", set(), None, f"[a]\nk = 1\n\n[ci]\n{TEXT}"),
    ("a new section with its region", "", set(), "eu-west-1", f"[ci]\nregion = eu-west-1\n{TEXT}"),
    ("no last line end", "[a]\nk = 1", set(), None, f"[a]\nk = 1\n\n[ci]\n{TEXT}"),
    ("carriage returns and line feeds", "[a]\r\n", set(), None, "[a]\r\n\r\n[ci]\r\n" + TEXT.replace("\n",
    "\r\n")),
    ("a section without credentials", "[ci]\nregion = x\n[b]\n", set(), None,
    f"[ci]\nregion = x\n{TEXT}[b]\n"),
    ("a section that is there gets no region", "[ci]\noutput = json\n", set(), "eu-west-1",
    f"[ci]\noutput = json\n{TEXT}"),
    ("the session before", f"[ci]\n{OLD}", {"ASIAOLD"}, None, f"[ci]\n{TEXT}"),
    ("the same session", f"[ci]\n{TEXT}", set(), None, f"[ci]\n{TEXT}"),
    ("half of the same session", "[ci]\naws_access_key_id = ASIANEW\n", set(), None, f"[ci]\n{TEXT}"),
    ("one of several of ours", f"[ci]\n{OLD}", {"ASIAOTHER", "ASIAOLD"}, None, f"[ci]\n{TEXT}"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "own_key_ids", "region", "after"), [case[1:] for case in PUTS], ids=[case[0] for case in PUTS]
)
def test_a_session_takes_the_place_of_ours(
    before: str, own_key_ids: set[str], region: str | None, after: str
) -> None:
    found = put_section(document(before), "ci", SESSION, own_key_ids, region)
    assert found.decode() == after


#: Contents that another program wrote into the section.
FOREIGN = [
    "aws_access_key_id = AKIAFOREIGN\naws_secret_access_key = s\n",
    "aws_access_key_id = AKIAFOREIGN\n",
    "aws_secret_access_key = s\n",
    "aws_session_token = t\n",
    "aws_security_token = t\n",
    "aws_expiration = x\n",
]


@pytest.mark.parametrize("text", FOREIGN)
def test_somebody_elses_credentials_are_not_written_over(text: str) -> None:
    with pytest.raises(ChangeRefused) as excinfo:
        put_section(document(f"[ci]\n{text}"), "ci", SESSION, {"ASIAOLD"})
    assert "--as" in excinfo.value.hint
    assert text.split(" ", maxsplit=1)[0] in excinfo.value.why


def test_a_region_goes_into_a_new_section_only_where_there_is_one() -> None:
    assert b"region" not in put_section(document(""), "ci", SESSION, ())


#: Name, contents before, keyturn's key IDs, True if keyturn made the section, keyturn's region, contents
#: after.
WITHDRAWALS: list[tuple[str, str, set[str], bool, str | None, str]] = [
    ("no section", "[a]\nk = 1\n", {"ASIANEW"}, True, None, "[a]\nk = 1\n"),
    ("somebody else's key", "[ci]\naws_access_key_id = AKIA\n", {"ASIANEW"}, True, None,
    "[ci]\naws_access_key_id = AKIA\n"),
    ("no key any more", "[ci]\naws_session_token = t\n", {"ASIANEW"}, True, None,
    "[ci]\naws_session_token = t\n"),
    ("a section that we made", f"[ci]\n{TEXT}", {"ASIANEW"}, True, None, ""),
    ("one after another", f"[a]\nk = 1\n\n[ci]\n{TEXT}", {"ASIANEW"}, True, None, "[a]\nk = 1\n"),
    ("one before another", f"[ci]\n{TEXT}\n[b]\nk = 1\n", {"ASIANEW"}, True, None, "[b]\nk = 1\n"),
    ("one between others", f"[a]\n\n[ci]\n{TEXT}\n[b]\n", {"ASIANEW"}, True, None, "[a]\n\n[b]\n"),
    ("one that was there", f"[ci]\n{TEXT}", {"ASIANEW"}, False, None, "[ci]\n"),
    ("one with a setting of somebody's", f"[ci]\nregion = x\n{TEXT}", {"ASIANEW"}, True, None,
    "[ci]\nregion = x\n"),
    ("one with our region", f"[ci]\nregion = x\n{TEXT}", {"ASIANEW"}, True, "x", ""),
    ("one with our region changed", f"[ci]\nregion = y\n{TEXT}", {"ASIANEW"}, True, "x",
    "[ci]\nregion = y\n"),
    ("a region that was there", f"[ci]\nregion = x\n{TEXT}", {"ASIANEW"}, False, "x", "[ci]\nregion = x\n"),
    ("one with somebody's comment", f"[ci]\n# mine\n{TEXT}", {"ASIANEW"}, True, None, "[ci]\n# mine\n"),
    ("one with a comment at its header", f"[ci] # mine\n{TEXT}", {"ASIANEW"}, True, None, "[ci] # mine\n"),
    ("one with somebody's other comment", f"[ci]\n; mine\n{TEXT}", {"ASIANEW"}, True, None, "[ci]\n; mine\n"),
    ("one with a comment right at its header", f"[ci]#mine\n{TEXT}", {"ASIANEW"}, True, None, "[ci]#mine\n"),
    ("no blank line before it", f"[a]\nk = 1\n[ci]\n{TEXT}", {"ASIANEW"}, True, None, "[a]\nk = 1\n"),
    ("blank lines at the end of the file", f"[a]\n\n[ci]\n{TEXT}\n[b]\nk = 1\n\n", {"ASIANEW"}, True, None,
    "[a]\n\n[b]\nk = 1\n\n"),
    ("a name of two words", f"[my own]\n{TEXT}", {"ASIANEW"}, True, None, ""),
    ("another program's session", f"[ci]\n{TEXT}", {"ASIAOTHER"}, True, None, f"[ci]\n{TEXT}"),
    ("half of a session", "[ci]\naws_access_key_id = ASIANEW\nk = 1\n", {"ASIANEW"}, True, None,
    "[ci]\naws_access_key_id = ASIANEW\nk = 1\n"),
    ("a long-term key that the index calls ours", ("[ci]\naws_access_key_id = AKIAOLD\n"
    "aws_secret_access_key = s\naws_session_token = t\naws_expiration = 2020-01-01T00:00:00Z\n"), {"AKIAOLD"},
    True, None, ("[ci]\naws_access_key_id = AKIAOLD\naws_secret_access_key = s\naws_session_token = t\n"
    "aws_expiration = 2020-01-01T00:00:00Z\n")),
    ("carriage returns and line feeds", f"[a]\n\n[ci]\n{TEXT}".replace("\n", "\r\n"), {"ASIANEW"}, True, None,
    "[a]\r\n"),
    ("a blank line of somebody's before it", f"[a]\n\n\n[ci]\n{TEXT}", {"ASIANEW"}, True, None, "[a]\n\n"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "own_key_ids", "is_ours", "region", "after"),
    [case[1:] for case in WITHDRAWALS],
    ids=[case[0] for case in WITHDRAWALS],
)
def test_a_withdrawal_takes_what_is_ours_and_nothing_else(
    before: str, own_key_ids: set[str], is_ours: bool, region: str | None, after: str
) -> None:
    section = "my own" if "[my own]" in before else "ci"
    found = withdraw(document(before), section, own_key_ids, is_created=is_ours, region=region)
    assert found.decode() == after
    assert (
        withdraw(document(after), section, own_key_ids, is_created=is_ours, region=region).decode() == after
    )


def test_by_default_a_section_stays_as_one_that_was_there() -> None:
    found = withdraw(document(f"[ci]\nregion = x\n{TEXT}"), "ci", {"ASIANEW"})
    assert found == b"[ci]\nregion = x\n"
    assert withdraw(document(f"[ci]\n{TEXT}"), "ci", {"ASIANEW"}) == b"[ci]\n"


@pytest.mark.parametrize("before", ["", "[a]\nk = 1\n", "[a]\nk = 1", "[a]\r\n", "# c\n", "[a]\n\n\n"])
def test_what_was_put_and_withdrawn_leaves_the_bytes_that_were_there(before: str) -> None:
    put = put_section(document(before), "ci", SESSION, (), "eu-west-1")
    left = withdraw(document(put.decode()), "ci", {"ASIANEW"}, is_created=True, region="eu-west-1").decode()
    assert left.removesuffix("\n") == before.removesuffix("\n")
    if before.endswith("\n"):
        assert left == before


#: Settings of a section, True if they look like a delivery of keyturn.
LOOKS = [
    ({"aws_access_key_id": "ASIA1", "aws_secret_access_key": "s", "aws_session_token": "t",
    "aws_expiration": "e"}, True),
    ({"aws_access_key_id": "ASIA1", "aws_secret_access_key": "s", "aws_session_token": "t",
    "aws_expiration": "e", "region": "x"}, True),
    ({"aws_access_key_id": "AKIA1", "aws_secret_access_key": "s", "aws_session_token": "t",
    "aws_expiration": "e"}, False),
    ({"aws_access_key_id": "ASIA1", "aws_secret_access_key": "s", "aws_session_token": "t"}, False),
    ({"aws_access_key_id": "ASIA1", "aws_secret_access_key": "s", "aws_expiration": "e"}, False),
    ({"aws_secret_access_key": "s", "aws_session_token": "t", "aws_expiration": "e"}, False),
    ({}, False),
]  # fmt: skip


@pytest.mark.parametrize(("values", "is_own"), LOOKS, ids=range(len(LOOKS)))
def test_a_delivery_of_ours_shows_by_a_temporary_key_with_its_end(
    values: dict[str, str], is_own: bool
) -> None:
    assert credentials_file.looks_delivered(values) is is_own


@pytest.mark.parametrize("name", ["default", "a", "A1_.@%/:+-", "profile", "profile-x", "9"])
def test_a_name_that_every_tool_finds_passes(name: str) -> None:
    credentials_file.check_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Default",
        "DEFAULT",
        "profile x",
        "sso-session x",
        "services x",
        "a b",
        "-a",
        "ü",
        "a\n",
        "[a",
        "a#",
    ],
)
def test_a_name_that_some_tool_would_not_find_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        credentials_file.check_name(name)


@pytest.mark.parametrize(
    ("text", "lead"),
    [
        ("", ""),
        ("[a]\n", "\n"),
        ("[a]", "\n\n"),
        ("[a]\r\n", "\r\n"),
        ("[a]\r\nk = 1", "\r\n\r\n"),
        ("[a]\rk = 1\r", "\r"),
    ],
)
def test_a_new_section_follows_a_blank_line(text: str, lead: str) -> None:
    assert Editor(document(text)).separator().decode() == lead
