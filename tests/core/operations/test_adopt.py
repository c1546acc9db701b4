"""Adopt and release as functions of bytes: removed settings return to the same place."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn.awsconfig import diff, process_line
from keyturn.awsconfig.document import Document, Editor, FileKind, parse
from keyturn.model.errors import ChangeRefused
from keyturn.model.json_codec import from_table, to_table
from keyturn.model.profile import Credentials
from keyturn.model.secret import Secret
from keyturn.operations import adopt_edits
from keyturn.operations.adopt_edits import RemovedSettings, SectionEdit
from tests.core.operations.file_edits import restored, with_session

PROGRAM = "/opt/keyturn/bin/keyturn"
KEYS = ("aws_access_key_id", "aws_secret_access_key")
CREDENTIALS = b"""# mine
[ci]
aws_access_key_id = AKIAIOSFODNN7EXAMPLE
# the secret
aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY

[other]
region = eu-west-1
"""


def edit_of(name: str, section: str) -> SectionEdit:
    return SectionEdit(section, KEYS, process_line.format_line(PROGRAM, name))


def adopt_all(data: bytes, edits: list[SectionEdit]) -> tuple[bytes, list[RemovedSettings]]:
    """Adopt one section after the other; return the file, and the settings removed for each."""
    document = parse(data, "file", FileKind.CREDENTIALS)
    found = []
    for edit in edits:
        removed = adopt_edits.capture_removed(Editor(document), edit)
        found.append(from_table(RemovedSettings, to_table(removed)))
        document = document.reparse(adopt_edits.remove_settings(document, (edit,)))
    return document.data, found


def release_all(data: bytes, removed: RemovedSettings) -> bytes:
    document = parse(data, "file", FileKind.CREDENTIALS)
    return restored(document, removed, profile=removed.section)


def test_the_keys_leave_and_the_line_comes_and_comments_stay() -> None:
    after, _ = adopt_all(CREDENTIALS, [edit_of("ci", "ci")])
    assert after == (
        b"# mine\n[ci]\ncredential_process = /opt/keyturn/bin/keyturn credential-process ci\n"
        b"# the secret\n\n[other]\nregion = eu-west-1\n"
    )


def test_adopting_twice_changes_nothing_more() -> None:
    once, _ = adopt_all(CREDENTIALS, [edit_of("ci", "ci")])
    twice, _ = adopt_all(once, [edit_of("ci", "ci")])
    assert twice == once


def test_a_section_that_somebody_changed_gets_its_settings_back_and_keeps_the_change() -> None:
    after, (removed,) = adopt_all(CREDENTIALS, [edit_of("ci", "ci")])
    changed = after.replace(b"# the secret\n", b"# the secret\nregion = us-east-1\n")
    back = release_all(changed, removed)
    section = parse(back, "file", FileKind.CREDENTIALS).section("ci")
    assert section is not None
    values = {item.key: item.value for item in section.items}
    assert values == {
        "region": "us-east-1",
        "aws_access_key_id": "AKIAIOSFODNN7EXAMPLE",
        "aws_secret_access_key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    }


def test_after_a_rotation_the_current_key_goes_back() -> None:
    after, (removed,) = adopt_all(CREDENTIALS, [edit_of("ci", "ci")])
    document = parse(after, "file", FileKind.CREDENTIALS)
    swap = {
        "AKIAIOSFODNN7EXAMPLE": "AKIANEWNEWNEWNEWNEWN",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY": "n" * 40,
    }
    back = restored(document, removed, profile="ci", replacements=swap)
    for old, new in swap.items():
        assert old.encode() not in back
        assert new.encode() in back


def test_release_finds_its_own_delivered_keys_and_takes_them_away() -> None:
    after, (removed,) = adopt_all(CREDENTIALS, [edit_of("ci", "ci")])
    expires = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)
    session = Credentials("ASIAIOSFODNN7EXAMPLE", Secret("s" * 40), Secret("t" * 300), expires)
    document = parse(after, "file", FileKind.CREDENTIALS)
    delivered = with_session(document, "ci", session)
    document = parse(delivered, "file", FileKind.CREDENTIALS)
    back = restored(document, removed, profile="ci", own_key_ids=("ASIAIOSFODNN7EXAMPLE",))
    assert back == CREDENTIALS


def test_what_adopt_took_shows_no_secret() -> None:
    _, (removed,) = adopt_all(CREDENTIALS, [edit_of("ci", "ci")])
    assert "wJalr" not in repr(removed)


SECRET = st.text("ABCDEFabcdef0123456789/+", min_size=40, max_size=40)
BODY_LINE = st.sampled_from(
    (
        "region = eu-west-1",
        "output=json",
        "# a note",
        "; another",
        "",
        "   ",
        "\t",
        "s3 =\n  addressing_style = path",
    )
)


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, list[str]]:
    """Draw a credentials file with some profiles that hold keys, and their names."""
    count = draw(st.integers(1, 4))
    names = [f"p{number}" for number in range(count)]
    lines: list[str] = draw(st.lists(st.sampled_from(("# top", "")), max_size=2))
    for name in names:
        lines.append(f"[{name}]")
        seen: set[str] = set()
        body = []
        for line in draw(st.lists(BODY_LINE, max_size=4)):
            key = line.split("=")[0].strip()
            if "=" in line and key in seen:
                continue
            seen.add(key)
            body.append(line)
        at = draw(st.integers(0, len(body)))
        sep = draw(st.sampled_from((" = ", "=", ": ", " =")))
        keys = [f"aws_access_key_id{sep}AKIA{name.upper():A<16}", f"aws_secret_access_key{sep}{draw(SECRET)}"]
        if at and body[at - 1].startswith("s3"):
            at = 0
        lines += body[:at] + keys + body[at:]
        lines += [""] * draw(st.integers(0, 2))
    end = draw(st.sampled_from(("\n", "\r\n")))
    text = end.join("\n".join(lines).split("\n"))
    return (text + (end if draw(st.booleans()) else "")).encode(), names


@settings(max_examples=300, deadline=None)
@given(files(), st.data())
def test_released_in_any_order_the_file_is_byte_for_byte_as_it_was(
    made: tuple[bytes, list[str]], data: st.DataObject
) -> None:
    original, names = made
    adopt = data.draw(st.permutations(names))
    keyless = data.draw(st.booleans())
    edits = [SectionEdit(name, () if keyless else KEYS, edit_of(name, name).line) for name in adopt]
    current, taken = adopt_all(original, edits)
    for name in names:
        section = parse(current, "file", FileKind.CREDENTIALS).section(name)
        assert section is not None
        assert (section.item("aws_secret_access_key") is None) is not keyless
        assert section.item("credential_process") is not None
    by_name = {removed.section: removed for removed in taken}
    for name in data.draw(st.permutations(names)):
        current = release_all(current, by_name[name])
    assert current == original


@pytest.mark.parametrize(
    "original", [b"", b"[default]\nregion = x\n", b"[default]\nregion = x", b"# only a note"]
)
@pytest.mark.parametrize("order", list(itertools.permutations(("a", "b", "c"))))
def test_sections_that_adopt_made_are_gone_again(original: bytes, order: tuple[str, ...]) -> None:
    edits = [SectionEdit(name, (), process_line.format_line(PROGRAM, name)) for name in ("a", "b", "c")]
    current, taken = adopt_all(original, edits)
    assert [section.name for section in parse(current).sections][-3:] == ["a", "b", "c"]
    by_name = {removed.section: removed for removed in taken}
    for name in order:
        current = release_all(current, by_name[name])
    assert current == original


def test_a_diff_names_the_file_and_masks_every_secret() -> None:
    after, _ = adopt_all(CREDENTIALS, [edit_of("ci", "ci")])
    shown = diff.diff("~/.aws/credentials", CREDENTIALS, after)
    text = "\n".join(f"{line.sign} {line.text}" for line in shown)
    assert "wJalr" not in text
    assert "- aws_secret_access_key = ***" in text
    assert "+ credential_process = /opt/keyturn/bin/keyturn credential-process ci" in text
    assert text.startswith("@ ~/.aws/credentials")


def test_a_secret_in_a_comment_is_masked_and_a_path_is_not() -> None:
    data = b"# old wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\nx = /usr/share/applications/something/long/er\n"
    assert diff.masked_lines(data) == ["# old ***", "x = /usr/share/applications/something/long/er"]


def test_the_document_stays_the_same_type_of_file() -> None:
    document = parse(b"[a]\n", "p", FileKind.CREDENTIALS)
    assert isinstance(document.reparse(b"[b]\n"), Document)
    assert document.reparse(b"[b]\n").kind is FileKind.CREDENTIALS


def test_a_diff_shows_the_section_of_each_change_and_nothing_of_the_next() -> None:
    before = b"[one]\na = 1\nb = 2\nc = 3\nd = 4\nkey = x\n\n# about two\n[two]\ne = 5\n"
    shown = diff.diff("file", before, before.replace(b"key = x\n", b"key = y\n"))
    assert [(line.sign, line.text) for line in shown] == [
        ("@", "file"),
        (" ", "[one]"),
        (" ", "…"),
        (" ", "c = 3"),
        (" ", "d = 4"),
        ("-", "key = x"),
        ("+", "key = y"),
    ]


def test_a_diff_of_a_new_section_and_of_a_new_file() -> None:
    assert [line.text for line in diff.diff("f", None, b"[a]\nx = 1\n")] == ["f", "[a]", "x = 1"]
    added = diff.diff("f", b"[z]\ny = 1\n", b"[z]\ny = 1\n\n[a]\nx = 1\n")
    assert [(line.sign, line.text) for line in added][-3:] == [("+", ""), ("+", "[a]"), ("+", "x = 1")]


def test_a_changed_secret_shows_as_a_change_without_its_value() -> None:
    shown = diff.diff("f", b"[a]\naws_secret_access_key = one\n", b"[a]\naws_secret_access_key = two\n")
    assert [(line.sign, line.text) for line in shown][2:] == [
        ("-", "aws_secret_access_key = ***"),
        ("+", "aws_secret_access_key = ***"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "#aws_secret_access_key=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "; secret=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "x=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "credential_process = /opt/vpn/creds --password wJalrXUtnFEMI",
    ],
)
def test_no_line_shows_a_secret(line: str) -> None:
    (shown,) = diff.masked_lines(line.encode())
    assert "wJalr" not in shown


def test_a_key_that_somebody_put_there_since_is_not_written_over() -> None:
    after, (removed,) = adopt_all(CREDENTIALS, [edit_of("ci", "ci")])
    newer = after.replace(b"[ci]\n", b"[ci]\naws_access_key_id = AKIANEW\naws_secret_access_key = new\n")
    with pytest.raises(ChangeRefused):
        release_all(newer, removed)


SECTION = "[ci]\ncredential_process = /opt/keyturn/bin/keyturn credential-process ci\n"


@pytest.mark.parametrize(
    ("original", "changed", "released_as"),
    [
        ("[b]\nk = 1\n", "[b]\nk = 1\n\n" + SECTION, "[b]\nk = 1\n"),
        ("[b]\nk = 1", "[b]\nk = 1\n\n" + SECTION, "[b]\nk = 1"),
        ("[b]\nk = 1\n", "[b]\nk = 1\n" + SECTION + "[new]\nk = 2\n", "[b]\nk = 1\n[new]\nk = 2\n"),
        ("[b]\nk = 1\n", "[b]\nk = 1\n\n" + SECTION + "[new]\nk = 2\n", "[b]\nk = 1\n[new]\nk = 2\n"),
        ("[b]\nk = 1", "[b]\nk = 1\n\n" + SECTION + "[new]\nk = 2\n", "[b]\nk = 1\n[new]\nk = 2\n"),
        ("[b]\nk = 1", "[b]\nk = 1\n" + SECTION + "[new]\nk = 2\n", "[b]\nk = 1\n[new]\nk = 2\n"),
        ("[b]\r\nk = 1\r\n", "[b]\r\nk = 1\r\n" + SECTION + "[new]\r\n", "[b]\r\nk = 1\r\n[new]\r\n"),
    ],
)
def test_release_of_a_section_that_adopt_made_never_joins_two_lines(
    original: str, changed: str, released_as: str
) -> None:
    """Every line stays if a user removes the blank line above the section, or adds a section below it."""
    edit = SectionEdit("ci", (), process_line.format_line(PROGRAM, "ci"))
    _, (settings,) = adopt_all(original.encode(), [edit])
    assert release_all(changed.encode(), settings).decode() == released_as
