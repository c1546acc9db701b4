"""Adopt and release of unusual sections, as functions of bytes. Tables."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from keyturn.awsconfig.document import Document, Editor, FileKind, parse
from keyturn.model.errors import ChangeRefused
from keyturn.model.json_codec import from_table, to_table
from keyturn.model.profile import Credentials
from keyturn.model.secret import Secret
from keyturn.operations.adopt_edits import (
    RemovedSettings,
    SectionEdit,
    capture_removed,
    core_and_tail,
    remove_process_line,
    remove_settings,
)
from tests.core.operations.file_edits import restored, with_session

KEYS = ("aws_access_key_id", "aws_secret_access_key")
LINE = '"/k/keyturn" credential-process ci'
OURS = f"credential_process = {LINE}\n"
ID, SECRET = "aws_access_key_id = AKIAOLD\n", "aws_secret_access_key = s0\n"
SESSION = Credentials("ASIANEW", Secret("s1"), Secret("t1"), datetime(2026, 11, 23, 13, 0, tzinfo=UTC))


def document(text: str) -> Document:
    return parse(text.encode(), "credentials", FileKind.CREDENTIALS)


def edit(take: tuple[str, ...] = KEYS, line: str | None = LINE, section: str = "ci") -> SectionEdit:
    return SectionEdit(section, take, line)


#: Name, before, edits, after.
ADOPTIONS: list[tuple[str, str, list[SectionEdit], str]] = [
    ("the line comes where the first setting went", f"[ci]\na = 1\n{ID}b = 2\n{SECRET}c = 3\n", [edit()],
     f"[ci]\na = 1\n{OURS}b = 2\nc = 3\n"),
    ("nothing to take", "[ci]\na = 1\n", [edit(())], f"[ci]\na = 1\n{OURS}"),
    ("nothing of it is there", "[ci]\na = 1\n[b]\n", [edit()], f"[ci]\na = 1\n{OURS}[b]\n"),
    ("another program's line", "[ci]\ncredential_process = tool --x\na = 1\n",
     [edit(("credential_process",))], f"[ci]\n{OURS}a = 1\n"),
    ("another program's line below a key", f"[ci]\n{ID}{SECRET}credential_process = tool\n", [edit((*KEYS,
     "credential_process"))], f"[ci]\n{OURS}"),
    ("a section that is not there", "[b]\nk = 1\n", [edit(())], f"[b]\nk = 1\n\n[ci]\n{OURS}"),
    ("an empty file", "", [edit(())], f"[ci]\n{OURS}"),
    ("without a line", f"[ci]\n{ID}{SECRET}a = 1\n", [edit(KEYS, None)], "[ci]\na = 1\n"),
    ("without a line, nothing there", "[b]\nk = 1\n", [edit(KEYS, None)], "[b]\nk = 1\n"),
    ("two sections", f"[ci]\n{ID}{SECRET}[b]\n{ID}{SECRET}k = 1\n", [edit(), edit(KEYS, None, "b")],
     f"[ci]\n{OURS}[b]\nk = 1\n"),
    ("without a line, then one with", f"[b]\n{ID}[ci]\n{ID}", [edit(KEYS, None, "b"), edit()],
     f"[b]\n[ci]\n{OURS}"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "edits", "after"), [case[1:] for case in ADOPTIONS], ids=[case[0] for case in ADOPTIONS]
)
def test_adopt_takes_settings_out_and_puts_the_line_in(
    before: str, edits: list[SectionEdit], after: str
) -> None:
    assert remove_settings(document(before), edits).decode() == after
    assert remove_settings(document(after), edits).decode() == after, "applied twice"


def taken(text: str, one: SectionEdit) -> RemovedSettings:
    return capture_removed(Editor(document(text)), one)


def test_what_is_taken_out_is_kept_with_all_that_surrounds_it() -> None:
    assert taken(f"# top\n[ci]\na = 1\n{ID}# c\n{SECRET}\n\n[b]\n", edit()) == RemovedSettings(
        path="credentials", kind=FileKind.CREDENTIALS, section="ci",
        before=f"[ci]\na = 1\n{ID}# c\n{SECRET}\n\n",
        bare_core="[ci]\na = 1\n# c", bare_tail="\n\n\n", lead="",
        items=(("aws_access_key_id", "AKIAOLD"), ("aws_secret_access_key", "s0")), file_made=False,
    )  # fmt: skip


def test_what_is_kept_shows_its_place_and_no_secret() -> None:
    shown = repr(taken(f"[ci]\n{ID}{SECRET}", edit()))
    assert "'ci'" in shown
    assert "s0" not in shown


@pytest.mark.parametrize(
    ("text", "line", "lead"),
    [("[b]", LINE, "\n\n"), ("[b]\n", LINE, "\n"), ("", LINE, ""), ("[b]\n", None, "")],
)
def test_of_a_section_that_adopt_makes_its_lead_is_kept(text: str, line: str | None, lead: str) -> None:
    assert taken(text, edit((), line)) == RemovedSettings(
        "credentials", FileKind.CREDENTIALS, "ci", None, "[ci]", "\n", lead, ()
    )


def test_each_section_is_kept_by_itself() -> None:
    text = f"[ci]\n{ID}[b]\nk = 1\n"
    edits = (edit(), edit((), LINE, "new"), edit(("k",), None, "b"))
    found = [taken(text, one) for one in edits]
    assert [(one.section, one.before) for one in found] == [
        ("ci", f"[ci]\n{ID}"),
        ("new", None),
        ("b", "[b]\nk = 1\n"),
    ]


def test_what_is_kept_is_the_same_after_the_vault() -> None:
    for one in (taken(f"[ci]\n{ID}{SECRET}", edit()), taken("[b]", edit(())), RemovedSettings(
        "config", FileKind.CONFIG, "profile ci", None, "", "", "", (), file_made=True
    )):  # fmt: skip
        assert from_table(RemovedSettings, to_table(one)) == one


#: A file, and the settings that adopt removes from its section `ci`.
FILES = [
    f"[ci]\n{ID}{SECRET}",
    f"[ci]\n{ID}{SECRET}".rstrip("\n"),
    f"[ci]\na = 1\n{ID}# c\n{SECRET}b = 2\n\n\n[z]\nk = 1\n",
    f"[ci]\na = 1\n{ID}{SECRET}".rstrip("\n"),
    f"[ci]\n{ID}{SECRET}\n[z]".replace("\n", "\r\n"),
    f"[y]\nk = 1\n\n[ci]\n{SECRET}{ID}   \n",
    "[y]\nk = 1\n",
    "[y]\nk = 1",
    "",
    "# c",
]


@pytest.mark.parametrize("take", [KEYS, ()], ids=["keys taken", "nothing taken"])
@pytest.mark.parametrize("text", FILES, ids=range(len(FILES)))
def test_release_gives_back_every_byte(text: str, take: tuple[str, ...]) -> None:
    one = taken(text, edit(take))
    adopted = document(remove_settings(document(text), (edit(take),)).decode())
    if "aws_access_key_id" in adopted.data.decode():
        assert restored(adopted, one, profile="ci").decode() == text
        return
    assert restored(adopted, one, profile="ci").decode() == text
    delivered = document(with_session(adopted, "ci", SESSION).decode())
    assert restored(delivered, one, profile="ci", own_key_ids={"ASIANEW"}).decode() == text


BEFORE = f"[ci]\n{ID}{SECRET}a = 1\n\n[z]\nk = 1\n"
#: Name, the file as edited after adopt, the file after release.
CHANGED: list[tuple[str, str, str]] = [
    ("a new setting", f"[ci]\n{OURS}a = 1\nb = 2\n", f"[ci]\na = 1\nb = 2\n{ID}{SECRET}"),
    ("the section is gone", "[z]\nk = 1\n", f"[z]\nk = 1\n\n[ci]\n{ID}{SECRET}"),
    ("the line is gone", "[ci]\na = 1\n\n[z]\nk = 1\n", BEFORE),
    ("a blank line more after it", f"[ci]\n{OURS}a = 1\n\n\n[z]\nk = 1\n", BEFORE.replace("\n\n", "\n\n\n")),
    ("a blank line less after it", f"[ci]\n{OURS}a = 1\n[z]\nk = 1\n", BEFORE.replace("\n\n", "\n")),
    ("a section more after it", f"[ci]\n{OURS}a = 1\n\n[z]\nk = 1\n[new]\n", f"{BEFORE}[new]\n"),
    ("moved to the end", f"[z]\nk = 1\n[ci]\n{OURS}a = 1\n", f"[z]\nk = 1\n[ci]\n{ID}{SECRET}a = 1\n"),
    ("another program's line in its place", "[ci]\ncredential_process = tool\na = 1\n",
     f"[ci]\ncredential_process = tool\na = 1\n{ID}{SECRET}"),
    ("the line of another profile in its place", f"[ci]\n{OURS.replace('ss ci', 'ss di')}a = 1\n",
     f"[ci]\n{OURS.replace('ss ci', 'ss di')}a = 1\n{ID}{SECRET}"),
    ("its key is back already", f"[ci]\n{OURS}{ID}a = 1\n", f"[ci]\n{ID}a = 1\n{SECRET}"),
]  # fmt: skip


@pytest.mark.parametrize(("now", "after"), [case[1:] for case in CHANGED], ids=[case[0] for case in CHANGED])
def test_release_keeps_what_somebody_changed_since(now: str, after: str) -> None:
    found = restored(document(now), taken(BEFORE, edit()), profile="ci")
    assert found.decode() == after


@pytest.mark.parametrize(
    ("now", "after"),
    [
        (f"[ci]\na = 1\n{OURS}", "[ci]\na = 1"),
        (f"[ci]\na = 1\n{OURS}\n", "[ci]\na = 1\n\n"),
        (f"[ci]\na = 1\n{OURS}[new]\n", "[ci]\na = 1\n[new]\n"),
    ],
    ids=["as it was", "a blank line of somebody's", "a section of somebody's"],
)
def test_a_last_line_that_had_no_end_gets_one_only_for_what_somebody_put_after_it(
    now: str, after: str
) -> None:
    found = restored(document(now), taken("[ci]\na = 1", edit(())), profile="ci")
    assert found.decode() == after


@pytest.mark.parametrize("text", ["aws_access_key_id = AKIAELSE\n", "aws_secret_access_key = other\n"])
def test_a_key_of_somebody_elses_is_not_written_over(text: str) -> None:
    with pytest.raises(ChangeRefused) as excinfo:
        restored(document(f"[ci]\n{text}"), taken(BEFORE, edit()), profile="ci")
    assert text.split(" ", maxsplit=1)[0] in excinfo.value.why


@pytest.mark.parametrize(
    ("now", "after"),
    [
        (f"[y]\n\n[ci]\n{OURS}region = x\n", "[y]\n\n[ci]\nregion = x\n"),
        ("[y]\n", "[y]\n"),
        (f"[y]\n\n[ci]\n{OURS}\n[new]\n", "[y]\n\n[new]\n"),
    ],
    ids=["somebody's setting stays", "it is gone already", "a section after it"],
)
def test_of_a_section_that_adopt_made_only_what_is_somebodys_stays(now: str, after: str) -> None:
    found = restored(document(now), taken("[y]\n", edit(())), profile="ci")
    assert found.decode() == after


@pytest.mark.parametrize(
    ("now", "after"),
    [
        (f"[y]\n\n[ci]\n{OURS}", "[y]"),
        (f"[y]\n\n[ci]\n{OURS}\n\n", "[y]\n\n"),
        (f"[y]\n[ci]\n{OURS}[new]\n", "[y]\n[new]\n"),
    ],
    ids=["as it was", "blank lines of somebody's", "somebody took the blank line away"],
)
def test_of_a_section_at_the_end_of_a_file_without_a_last_line_end(now: str, after: str) -> None:
    found = restored(document(now), taken("[y]", edit(())), profile="ci")
    assert found.decode() == after


@pytest.mark.parametrize(
    ("now", "after"),
    [
        (f"[ci]\n{OURS}a = 1\n\n[z]\nk = 1\n", BEFORE.replace("AKIAOLD", "AKIANEW").replace("s0", "s9")),
        (
            f"[ci]\n{OURS}b = 1\n",
            f"[ci]\nb = 1\n{ID}{SECRET}".replace("AKIAOLD", "AKIANEW").replace("s0", "s9"),
        ),
    ],
    ids=["into the section as it was", "into one that somebody changed"],
)
def test_the_current_key_goes_back_after_a_rotation(now: str, after: str) -> None:
    swap = {"AKIAOLD": "AKIANEW", "s0": "s9"}
    found = restored(document(now), taken(BEFORE, edit()), profile="ci", replacements=swap)
    assert found.decode() == after


#: Name, section `ci` before, keyturn's key IDs, section after.
CLEARED: list[tuple[str, str, set[str], str]] = [
    ("our line", f"[ci]\n{OURS}a = 1\n", set(), "[ci]\na = 1\n"),
    ("another's line", "[ci]\ncredential_process = tool\n", set(), "[ci]\ncredential_process = tool\n"),
    (
        "our keys",
        ("[ci]\naws_access_key_id = ASIA1\naws_secret_access_key = s\naws_session_token = t\n"
        f"aws_expiration = 2026-11-23T15:00:00Z\n{OURS}"),
        {"ASIA1"},
        "[ci]\n",
    ),
    ("keys that are not ours", f"[ci]\n{OURS}{ID}", {"ASIA1"}, f"[ci]\n{ID}"),
    ("our keys, of which nobody told", "[ci]\naws_access_key_id = ASIA1\n", set(),
     "[ci]\naws_access_key_id = ASIA1\n"),
    ("no such section", f"[b]\n{OURS}", {"ASIA1"}, f"[b]\n{OURS}"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "own_key_ids", "after"), [case[1:] for case in CLEARED], ids=[case[0] for case in CLEARED]
)
def test_what_is_ours_is_taken_away(before: str, own_key_ids: set[str], after: str) -> None:
    editor = Editor(document(before))
    remove_process_line(editor, "ci", "ci", own_key_ids)
    assert editor.finish().decode() == after


@pytest.mark.parametrize(
    ("text", "core", "tail"),
    [
        (b"[a]\nk = 1\n\n", b"[a]\nk = 1", b"\n\n"),
        (b"[a]\r\n \t\r\n", b"[a]", b"\r\n \t\r\n"),
        (b"[a]", b"[a]", b""),
        (b"[a]\nk = X\n", b"[a]\nk = X", b"\n"),
        (b"\n", b"", b"\n"),
    ],
)
def test_a_section_is_cut_after_its_last_line(text: bytes, core: bytes, tail: bytes) -> None:
    assert core_and_tail(text) == (core, tail)


def test_a_file_is_read_anew_only_if_it_changed() -> None:
    one = document("[a]\n")
    assert one.reparse(b"[a]\n").sections is one.sections
    other = one.reparse(b"[b]\n")
    assert other.reparse(b"[a]\n").sections is one.sections
    assert (other.data, other.path, other.kind) == (b"[b]\n", "credentials", FileKind.CREDENTIALS)
