"""Each stored format keeps the fields that this version does not know, whatever else is changed."""

from __future__ import annotations

import json
import tempfile
import tomllib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from keyturn.model.errors import ChangeRefused, VaultNewer
from keyturn.model.json_codec import to_table
from keyturn.model.profile import Delivery, Failure, Key, Session
from keyturn.operations.credentials import mfa_code_command
from keyturn.operations.credentials.session_cache import end_mfa_sessions
from keyturn.operations.rotation import journal
from keyturn.storage import managed_profiles
from keyturn.storage.history import History
from keyturn.storage.index import DeliveryRecord, Index, IndexFile, RotationSummary
from keyturn.storage.managed_profiles import ManagedProfile
from keyturn.vault import documents, files
from keyturn.vault.files import GenerationMark, RecipientFile

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
RECIPIENT = "age1qf0vxtw2y7klcctc4pevmk6wyww0sn8833p0864cw52hz0mr49wszhgwst"
#: Names that no version of keyturn uses, and one that the code uses for another thing.
NAMES = st.one_of(st.just("other_fields"), st.text(min_size=1, max_size=8).map(lambda name: f"x-{name}"))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
UNKNOWN = st.dictionaries(NAMES, JSON, min_size=1, max_size=3)
_PLAIN = st.text("abc[]='\"#\\ü ", max_size=8) | st.integers(-(2**62), 2**62) | st.booleans()
TOML = st.recursive(
    _PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
NOTES = st.lists(
    st.text([chr(code) for code in range(32, 127)], max_size=20).filter(
        lambda note: not note.startswith("check ")
    ),
    max_size=3,
).map(tuple)


def missing(unknown: Mapping[str, Any], *tables: Mapping[str, Any]) -> list[str]:
    return [name for table in tables for name, value in unknown.items() if table.get(name) != value]


def sample_index() -> Index:
    index = Index()
    end_mfa_sessions(index, "arn:mfa")
    index.keys["ci"] = Key("AKIAOLD")
    index.rotations["r"] = RotationSummary("ci", ("ci",), "AKIAOLD", None, "intent", False, NOW, None)
    index.update(
        "ci",
        session=Session("ASIAX", NOW, NOW, None),
        delivered=DeliveryRecord("/c", "ci", ("ASIAX",), NOW),
        failure=Failure(NOW, "line"),
    )
    return index


def tables_of(index: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """Return every object of the stored index that is not a table by name."""
    profile = index["profiles"]["ci"]
    nested = (profile["session"], profile["delivered"], profile["failure"])
    return (
        index, profile, *nested, index["keys"]["ci"], index["devices"]["arn:mfa"], index["rotations"]["r"]
    )  # type: ignore[return-value]  # of JSON  # fmt: skip


@given(unknown=UNKNOWN)
def test_index(unknown: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = IndexFile(Path(folder) / "index.json")
        file.change(lambda _: sample_index())
        content = json.loads(file.path.read_bytes())
        for table in tables_of(content):
            table.update(unknown)
        file.path.write_text(json.dumps(content))

        def edit(index: Index) -> None:
            index.update("ci", accepted_seconds=900)
            index.update("other", accepted_seconds=900)
            end_mfa_sessions(index, "arn:mfa")

        file.change(edit)
        changed = json.loads(file.path.read_bytes())
        assert changed["profiles"]["ci"]["accepted_seconds"] == 900
        assert changed["devices"]["arn:mfa"]["stops"] == 2
        assert missing(unknown, *tables_of(changed)) == []


@given(unknown=st.dictionaries(NAMES, TOML, min_size=1, max_size=3))
def test_definitions(unknown: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "profiles.toml"
        managed_profiles.change(path, lambda managed: managed.update(ci=ManagedProfile("ci", "iam-key")))
        content = tomllib.loads(path.read_text())
        content |= unknown
        content["profiles"]["ci"] |= {**unknown, "session": "other"}
        path.write_text(tomli_w.dumps(content))

        def edit(managed: dict[str, ManagedProfile]) -> None:
            managed["ci"] = managed_profiles.with_delivery(managed["ci"], Delivery.NOWHERE, None)
            managed["new"] = ManagedProfile("new", "iam-key")

        managed_profiles.change(path, edit)
        changed = tomllib.loads(path.read_text())
        assert changed["profiles"].keys() == {"ci", "new"}
        assert changed["profiles"]["ci"]["delivery"] == "nowhere"
        assert changed["profiles"]["ci"]["session"] == "other"
        assert missing(unknown, changed, changed["profiles"]["ci"]) == []


@given(unknown=UNKNOWN)
def test_history(unknown: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        history = History(Path(folder) / "h", lambda data: data, lambda: NOW)
        history.keep(Path("/a"), b"one")
        path = history.folder / "index.json"
        content = json.loads(path.read_bytes())
        content |= unknown
        content["entries"][0] |= unknown
        path.write_text(json.dumps(content))
        history.keep(Path("/a"), b"two")
        changed = json.loads(path.read_bytes())
        assert [entry["number"] for entry in changed["entries"]] == [1, 2]
        assert missing(unknown, changed, changed["entries"][0]) == []


@given(unknown=UNKNOWN, kind=st.sampled_from([documents.KEYS, documents.SESSIONS]))
def test_documents_of_the_vault(unknown: dict[str, Any], kind: str) -> None:
    plain = {"version": 1, "kind": kind, "generation": 3, "entries": {"a": unknown}}
    document = documents.decode(json.dumps({**unknown, **plain}).encode(), kind, "keys.age")
    document.entries["b"] = {}
    changed = json.loads(document.encode())
    assert changed["entries"].keys() == {"a", "b"}
    assert missing(unknown, changed, changed["entries"]["a"]) == []


#: A rotation record without its keys.
RECORD: dict[str, Any] = {
    "nonce": "1", "step": "intent", "profile": "ci", "entries": ["ci"], "user": "arn:aws:iam::1:user/ci",
    "began": "2026-11-23T14:05:10+00:00", "created": None, "listed": [], "undoing": False,
    "reactivated": False, "at": {}, "new": None,
}  # fmt: skip


@given(unknown=UNKNOWN)
def test_record_of_a_rotation(unknown: dict[str, Any]) -> None:
    key, new_key = {"key_id": "AKIAOLD", "secret": "s"}, {"key_id": "AKIANEW", "secret": "n"}
    record = {**unknown, **RECORD, "old": {**key, **unknown}, "new": None}
    stored = {**unknown, "version": 1, "kind": "rotation", "serial": 4, "record": record}
    content = journal._decode(json.dumps(stored).encode(), "r")
    next_record = {**RECORD, "step": "created", "old": {**key, "secret": ""}, "new": new_key}
    changed = json.loads(journal._encode(content.successor(next_record, 7)))
    assert (changed["serial"], changed["generation"]) == (5, 7)
    assert missing(unknown, changed, changed["record"], changed["record"]["old"]) == []
    assert changed["record"]["old"]["secret"] == ""
    assert changed["record"]["new"] == new_key
    following = json.loads(journal._encode(content.successor({"nonce": "2", "old": key}, 7)))
    assert following["record"] == {"nonce": "2", "old": key}


@given(unknown=UNKNOWN)
def test_use_of_mfa_codes(unknown: dict[str, Any]) -> None:
    device = {"step": 5, "refused": 0, **unknown}
    old = json.dumps({"version": 1, "devices": {"arn:mfa": device}, **unknown}).encode()
    changed = json.loads(mfa_code_command.with_device(old, "arn:mfa", lambda state: state | {"step": 6}, "x"))
    assert changed["devices"]["arn:mfa"]["step"] == 6
    assert missing(unknown, changed, changed["devices"]["arn:mfa"]) == []


@given(notes=NOTES)
def test_notes_in_the_vaults_plaintext_files(notes: tuple[str, ...]) -> None:
    header = RecipientFile(RECIPIENT, "0" * 16, ("passphrase",), ("a" * 64,), notes)
    assert files.parse_recipient_file(header.encode()) == header
    mark = GenerationMark(RECIPIENT, 17, notes)
    assert files._parse_generation_mark(mark.encode()) == mark


def test_a_new_session_does_not_inherit_the_fields_of_the_one_before() -> None:
    """They belong to the session that is gone."""
    index = sample_index()
    index.update("ci", session=Session("ASIAY", NOW, NOW + timedelta(hours=1), None))
    assert set(to_table(index.profiles["ci"])["session"]) == {"key_id", "issued", "expires", "arn"}


Write = Callable[[Path], None]


def _write_index(path: Path) -> None:
    IndexFile(path).change(lambda index: index.update("ci", accepted_seconds=1))


def _write_definitions(path: Path) -> None:
    managed_profiles.change(path, dict.clear)


def _write_mfa(path: Path) -> None:
    path.write_bytes(
        mfa_code_command.with_device(path.read_bytes(), "arn:mfa", lambda state: state, "mfa.json")
    )


def _write_history(path: Path) -> None:
    History(path.parent, lambda data: data, lambda: NOW).keep(Path("/a"), b"one")


@pytest.mark.parametrize(
    ("content", "write"),
    [
        (b'{"version": 2, "profiles": {}, "keys": {}}', _write_index),
        (b'{"version": 2, "profiles": 7}', _write_index),
        (b"version = 2\nprofiles = 7\n", _write_definitions),
        (b'{"version": 2, "devices": 7}', _write_mfa),
        (b'{"version": 2}', _write_history),
    ],
)
def test_a_newer_file_is_never_written(tmp_path: Path, content: bytes, write: Write) -> None:
    path = tmp_path / "index.json"
    path.write_bytes(content)
    with pytest.raises((ChangeRefused, VaultNewer), match=r"written by a newer keyturn \(version 2, .* 1\)"):
        write(path)
    assert path.read_bytes() == content
    assert not [other for other in tmp_path.iterdir() if "unreadable" in other.name]


@pytest.mark.parametrize("version", ["2", True, 0, None, 1.5])
def test_an_index_with_no_version_number_is_moved_aside(tmp_path: Path, version: object) -> None:
    path = tmp_path / "index.json"
    path.write_text(json.dumps({"version": version, "profiles": {}, "keys": {}}))
    _write_index(path)
    assert path.with_name("index.json.unreadable").exists()


def test_a_newer_index_still_names_the_vault_and_what_was_stopped(tmp_path: Path) -> None:
    path = tmp_path / "index.json"
    profiles = {"ci": {"stopped": "2026-11-30T12:00:00+00:00", "delivered": None}}
    table = {
        "version": 2,
        "profiles": profiles,
        "keys": {},
        "vault_generation": 9,
        "vault_recipient": "age1x",
    }
    path.write_text(json.dumps(table))
    index = IndexFile(path).load()
    assert (index.version, index.vault_generation, index.vault_recipient) == (2, 9, "age1x")
    assert index.of("ci").stopped == NOW
    path.write_text(json.dumps({**table, "profiles": []}))
    index = IndexFile(path).load()
    assert (index.version, index.vault_generation, index.profiles) == (2, 9, {})
