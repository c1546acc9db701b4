"""Files and agents of other versions of keyturn: nothing of theirs is lost or overwritten, and no rollback
passes unnoticed."""

from __future__ import annotations

import json
import os
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from keyturn.model.secret import Secret
from keyturn.storage import raw_paths
from keyturn.storage.paths import Paths, paths_for
from keyturn.vault import age, documents
from keyturn_sandbox import Sandbox
from tests.end_to_end.any_machine.old_agent import OldAgent
from tests.end_to_end.person import KEYTURN, PASSPHRASE, Person
from tests.end_to_end.terminal import terminal

PROFILE = "ci-deploy"
UNKNOWN = {"later": {"list": [1, "two", None], "flag": True}}
UNKNOWN_TOML = {"later": {"list": [1, 2], "flag": True}}


class Home:
    """The files of a person who has adopted a profile."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.recovery_key: Secret = person.makes_vault()
        self.paths: Paths = paths_for(person.environ)
        person.does("adopt", PROFILE, "--yes")

    @property
    def keys(self) -> Path:
        return self.paths.vault_dir / "keys.age"

    @property
    def history_index(self) -> Path:
        return self.paths.history_dir / "index.json"

    def lock(self) -> None:
        self.person.does("vault", "lock")

    def unlock(self) -> None:
        self.person.does("vault", "unlock", fds={"--passphrase-fd": PASSPHRASE})

    def change_json(self, path: Path, change: Callable[[dict[str, Any]], object]) -> bytes:
        table = json.loads(path.read_bytes())
        change(table)
        path.write_text(json.dumps(table))
        return path.read_bytes()

    def open(self, path: Path) -> dict[str, Any]:
        """Return the JSON in an encrypted file."""
        plain = age.identity_from(self.recovery_key).open(path.read_bytes(), path.name)
        table: dict[str, Any] = json.loads(plain)
        return table

    def seal(self, path: Path, table: dict[str, Any]) -> bytes:
        """Encrypt a table as anybody can who knows the recipient."""
        path.write_bytes(age.seal(json.dumps(table).encode(), age.identity_from(self.recovery_key).recipient))
        return path.read_bytes()

    def refuses(self, *words: str, exit_code: int = 5) -> str:
        """Run a verb that must fail with one line, and return that line."""
        done = self.person.keyturn(*words)
        assert done.returncode == exit_code, (words, done.returncode, done.stdout, done.stderr)
        (line,) = done.stderr.splitlines()
        return line

    def credentials(self) -> str:
        """Return the key id that an AWS client gets."""
        document = json.loads(self.person.does("credential-process", PROFILE))
        return str(document["AccessKeyId"])


@pytest.fixture
def home(newcomer: Person) -> Home:
    return Home(newcomer)


# -- unknown fields ------------------------------------------------------------------------------------------


def test_fields_of_a_later_version_survive_every_writer(home: Home) -> None:
    person, paths = home.person, home.paths
    person.does("refresh", PROFILE)
    home.lock()

    def mark_index(table: dict[str, Any]) -> None:
        table |= UNKNOWN
        table["profiles"][PROFILE] |= UNKNOWN
        table["keys"][PROFILE] |= UNKNOWN

    home.change_json(paths.index_file, mark_index)

    def mark_history(table: dict[str, Any]) -> None:
        table |= UNKNOWN
        table["entries"][0] |= UNKNOWN

    home.change_json(home.history_index, mark_history)
    definitions = tomllib.loads(paths.profiles_file.read_text())
    definitions |= UNKNOWN_TOML
    definitions["profiles"][PROFILE] |= UNKNOWN_TOML
    paths.profiles_file.write_text(tomli_w.dumps(definitions))
    document = home.open(home.keys)
    document["entries"][f"key/{PROFILE}"] |= UNKNOWN
    home.seal(home.keys, {**document, **UNKNOWN})

    home.unlock()
    person.does("adopt", "personal", "--yes")  # writes each of them
    person.does("set", PROFILE, "duration_seconds=3600")
    person.does("refresh", PROFILE)

    index = json.loads(paths.index_file.read_bytes())
    for table in (index, index["profiles"][PROFILE], index["keys"][PROFILE]):
        assert table["later"] == UNKNOWN["later"]
    history = json.loads(home.history_index.read_bytes())
    assert history["later"] == history["entries"][0]["later"] == UNKNOWN["later"]
    assert len(history["entries"]) > 2
    definitions = tomllib.loads(paths.profiles_file.read_text())
    assert definitions["later"] == definitions["profiles"][PROFILE]["later"] == UNKNOWN_TOML["later"]
    assert "personal" in definitions["profiles"]
    document = home.open(home.keys)
    assert document["later"] == document["entries"][f"key/{PROFILE}"]["later"] == UNKNOWN["later"]
    assert "key/personal" in document["entries"]


def test_a_note_of_a_later_version_in_the_vaults_header_is_read_and_kept(home: Home) -> None:
    """A sibling: the header was called damaged, and its repair dropped the keyring slot."""
    from tests.core.vault.recipient_notes import with_note

    header = home.paths.vault_dir / "recipient.txt"
    home.lock()
    header.write_bytes(with_note(header.read_bytes(), "later 17"))
    home.unlock()
    assert home.credentials()


# -- newer files ---------------------------------------------------------------------------------------------


def newer(table: dict[str, Any]) -> None:
    table["version"] = 2


def test_a_newer_index_is_left_alone_and_credentials_are_handed_out(home: Home) -> None:
    home.lock()
    content = home.change_json(home.paths.index_file, newer)
    kept = (home.keys.read_bytes(), home.paths.profiles_file.read_bytes(), home.person.files())
    home.unlock()
    assert home.credentials().startswith("ASIA")
    for words in (
        ("adopt", "personal", "--yes"),
        ("set", PROFILE, "duration_seconds=3600"),
        ("deliver", PROFILE, "--to", "credentials-file"),
        ("stop", PROFILE),
        ("rotate", PROFILE, "--yes"),
    ):
        calls = len(home.person.sandbox.calls)
        line = home.refuses(*words)
        assert "index.json was written by a newer keyturn (version 2" in line, line
        assert line.endswith("Upgrade keyturn")
        assert len(home.person.sandbox.calls) == calls, words
    assert home.paths.index_file.read_bytes() == content
    assert (home.keys.read_bytes(), home.paths.profiles_file.read_bytes(), home.person.files()) == kept
    assert home.credentials().startswith("ASIA")


def test_a_newer_history_stops_adopt_before_the_vault_is_written(home: Home) -> None:
    content = home.change_json(home.history_index, newer)
    kept = (home.keys.read_bytes(), home.paths.profiles_file.read_bytes(), home.person.files())
    for words in (("adopt", "personal", "--yes"), ("deliver", PROFILE, "--to", "nowhere")):
        line = home.refuses(*words)
        assert "written by a newer keyturn (version 2" in line, line
    assert home.history_index.read_bytes() == content
    assert (home.keys.read_bytes(), home.paths.profiles_file.read_bytes(), home.person.files()) == kept
    assert home.credentials().startswith("ASIA")


def test_a_newer_session_cache_is_kept_aside_and_a_new_one_begun(home: Home) -> None:
    cache = home.paths.vault_dir / "sessions.age"
    home.credentials()
    content = home.seal(cache, {"version": 2, "kind": "sessions", "generation": 7, "cells": []})
    assert home.credentials().startswith("ASIA")
    assert (home.paths.vault_dir / "sessions.age.newer").read_bytes() == content
    assert home.open(cache)["version"] == 1


def test_a_newer_rotation_record_stops_the_rotation_before_aws_is_asked(home: Home) -> None:
    key = json.loads(home.paths.index_file.read_bytes())["keys"][PROFILE]
    name = f"{key['user'].split(':')[4]}-{PROFILE}.age"
    home.paths.rotation_dir.mkdir(mode=0o700)
    record = home.paths.rotation_dir / name
    content = home.seal(record, {"version": 2, "kind": "rotation", "record": {}})
    record.chmod(0o600)
    # An index that the newer version wrote in its own way must not hide the record.
    rotation = {
        "profile": "other", "entries": ["other"], "old_id": "AKIAX", "new_id": None, "step": "intent",
        "undoing": False, "began": "2026-11-23T12:00:00Z", "deletable_from": None,
    }  # fmt: skip
    home.change_json(home.paths.index_file, lambda table: table["rotations"].update({name[:-4]: rotation}))
    calls = len(home.person.sandbox.calls)
    line = home.refuses("rotate", PROFILE, "--yes", exit_code=1)
    assert "written by a newer keyturn (version 2" in line
    assert len(home.person.sandbox.calls) == calls
    assert record.read_bytes() == content


def test_newer_definitions_and_keys_are_named_and_left_alone(home: Home) -> None:
    home.lock()
    text = home.paths.profiles_file.read_text().replace("version = 1", "version = 2")
    home.paths.profiles_file.write_text(text)
    listed = home.person.keyturn("list")
    assert listed.returncode == 0
    assert "written by a newer keyturn (version 2" in listed.stderr
    assert PROFILE in listed.stdout
    assert "newer keyturn" in home.refuses("set", PROFILE, "duration_seconds=3600")
    assert home.paths.profiles_file.read_text() == text
    home.paths.profiles_file.write_text(text.replace("version = 2", "version = 1"))

    content = home.seal(home.keys, {**home.open(home.keys), "version": 2})
    done = home.person.keyturn("vault", "unlock", fds={"--passphrase-fd": PASSPHRASE})
    assert done.returncode == 1
    assert "written by a newer keyturn (version 2" in done.stderr
    done = home.person.keyturn("vault", "restore", fds={"--recovery-key-fd": home.recovery_key.reveal()})
    assert "written by a newer keyturn (version 2" in done.stderr
    assert home.keys.read_bytes() == content
    assert home.person.keyturn("list").returncode == 0


# -- rollback ------------------------------------------------------------------------------------------------


def test_an_old_copy_of_the_keys_is_noticed_though_the_index_was_lost(home: Home) -> None:
    old = home.keys.read_bytes()
    home.person.does("adopt", "personal", "--yes")
    home.lock()
    home.keys.write_bytes(old)
    home.paths.index_file.unlink()
    done = home.person.keyturn("vault", "unlock", fds={"--passphrase-fd": PASSPHRASE})
    assert done.returncode == 1
    assert "an old copy: generation 2, but 3 existed already" in done.stderr
    assert "keyturn vault restore" in done.stderr

    restored = home.person.keyturn("vault", "restore", fds={"--passphrase-fd": PASSPHRASE})
    assert restored.returncode == 0, restored.stderr
    home.unlock()
    assert home.credentials().startswith("ASIA")


def seal_forged(home: Home, generation: int) -> None:
    document = home.open(home.keys)
    forged = {"key_id": "AKIAFORGED", "secret": "forged"}
    home.seal(home.keys, {**document, "generation": generation, "entries": {f"key/{PROFILE}": forged}})


@pytest.mark.parametrize("generation", [1, documents.LAST_GENERATION])
def test_forged_keys_cost_no_key(home: Home, generation: int) -> None:
    """Anybody who knows the recipient and may write in the folder can seal a document. The generations beside
    it stay, and a restore finds them."""
    genuine = home.open(home.keys)["entries"]
    home.person.does("adopt", "personal", "--yes")
    home.lock()
    seal_forged(home, generation)
    home.paths.index_file.unlink()
    done = home.person.keyturn("vault", "restore", fds={"--passphrase-fd": PASSPHRASE})
    assert done.returncode == 0, done.stderr
    assert "Lost" in done.stdout + done.stderr
    home.unlock()
    entries = home.open(home.keys)["entries"]
    assert entries[f"key/{PROFILE}"] == genuine[f"key/{PROFILE}"]
    home.person.does("set", PROFILE, "duration_seconds=3600")
    assert home.credentials().startswith("ASIA")


def test_the_keys_of_another_vault_are_named_and_nothing_is_lost(
    home: Home, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with Sandbox(tmp_path_factory.mktemp("another")) as sandbox:
        other = Person(sandbox)
        other.makes_vault()
        other.leaves()
        foreign = (paths_for(other.environ).vault_dir / "keys.age").read_bytes()
    genuine = home.open(home.keys)["entries"]
    home.person.does("set", PROFILE, "duration_seconds=3600")
    home.person.does("adopt", "personal", "--yes")
    home.lock()
    home.keys.write_bytes(foreign)
    done = home.person.keyturn("vault", "unlock", fds={"--passphrase-fd": PASSPHRASE})
    assert done.returncode == 1
    assert "keys.age" in done.stderr
    home.person.does("vault", "restore", fds={"--passphrase-fd": PASSPHRASE})
    home.unlock()
    assert home.open(home.keys)["entries"][f"key/{PROFILE}"] == genuine[f"key/{PROFILE}"]
    assert [path.read_bytes() for path in home.paths.vault_dir.glob("keys.damaged-*.age")] == [foreign]


def test_an_old_index_and_old_definitions_cost_no_key(home: Home) -> None:
    old = {path: path.read_bytes() for path in (home.paths.index_file, home.paths.profiles_file)}
    home.person.does("adopt", "personal", "--yes")
    before = home.open(home.keys)["entries"]
    home.lock()
    for path, content in old.items():
        path.write_bytes(content)
    home.unlock()
    assert home.credentials().startswith("ASIA")
    assert home.open(home.keys)["entries"] == before
    home.person.releases("personal")  # the definition is lost, the vault still has what was removed
    assert "aws_secret_access_key" in home.person.credentials.read_text()


# -- agents --------------------------------------------------------------------------------------------------


@pytest.fixture
def old_agent(home: Home) -> Iterator[OldAgent]:
    home.person.leaves()
    agent = OldAgent(home.person.socket)
    yield agent
    agent.end()


def test_an_agent_of_another_build_serves_until_the_next_unlock_replaces_it(
    home: Home, old_agent: OldAgent
) -> None:
    assert home.credentials() == "ASIAOLDAGENT"
    home.person.does("vault", "unlock")  # nothing is asked of a script
    home.unlock()
    assert old_agent.locked.wait(10)
    assert old_agent.asked[-1] == "lock"
    assert home.credentials() not in ("", "ASIAOLDAGENT")
    status = json.loads(home.person.does("agent", "status", "--json"))
    assert status["build"] >= 1
    assert status["paused"] is True  # as the old one was


def test_no_client_is_refused_while_an_agent_is_replaced(home: Home, old_agent: OldAgent) -> None:
    """A sibling: a request that the old agent has begun is answered."""
    import threading

    failures: list[str] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            asked = home.person.keyturn("credential-process", PROFILE)
            if asked.returncode != 0:
                failures.append(asked.stderr)

    client = threading.Thread(target=ask)
    client.start()
    home.unlock()
    assert old_agent.locked.wait(10)
    done.set()
    client.join()
    assert failures == []
    home.lock()
    assert not home.person.socket.exists()


@pytest.fixture
def agent_elsewhere(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[OldAgent]:
    """An agent that was started while the home was read-only, and so listens in the temporary folder."""
    home.person.leaves()
    monkeypatch.setattr(raw_paths, "_can_hold_socket", lambda _folder: False)
    path = Path(raw_paths.socket_path(home.person.environ))
    monkeypatch.undo()
    assert path != home.person.socket
    agent = OldAgent(path)
    yield agent
    agent.end()
    for left in path.parent.glob(f"{path.stem}*"):
        left.unlink()


@pytest.mark.parametrize("words", [("vault", "lock"), ("agent", "stop")])
def test_an_agent_at_another_place_serves_and_is_locked(
    home: Home, agent_elsewhere: OldAgent, words: tuple[str, ...]
) -> None:
    assert home.credentials() == "ASIAOLDAGENT"
    assert json.loads(home.person.does("agent", "status", "--json"))["version"] == "0.1.0"
    home.person.does(*words)
    assert agent_elsewhere.locked.is_set()


def test_an_agent_at_another_place_is_replaced(home: Home, agent_elsewhere: OldAgent) -> None:
    home.unlock()
    assert agent_elsewhere.locked.wait(10)
    assert home.credentials() not in ("", "ASIAOLDAGENT")


def test_an_unlock_that_fails_leaves_the_agent_that_serves(home: Home, old_agent: OldAgent) -> None:
    """The forwarded socket cannot be bound."""
    forward = home.person.socket.with_name("forward.sock")
    forward.write_text("mine")
    done = home.person.keyturn("vault", "unlock", fds={"--passphrase-fd": PASSPHRASE})
    assert done.returncode != 0
    assert "forward.sock is not a socket that you own" in done.stderr
    time.sleep(1.5)  # an agent whose socket is gone exits within a second
    assert "lock" not in old_agent.asked
    assert home.credentials() == "ASIAOLDAGENT"
    forward.unlink()


def test_an_unlock_replaces_an_agent_that_answers_late(home: Home) -> None:
    home.person.leaves()
    agent = OldAgent(home.person.socket, late=1.5)
    try:
        home.unlock()
        assert agent.locked.wait(10)
        assert home.credentials() != "ASIAOLDAGENT"
    finally:
        agent.end()


def test_the_vault_as_the_first_release_wrote_it_gets_its_mark(home: Home) -> None:
    """Such a release has no mark, and one that runs again in between lets it lag."""
    mark = home.paths.vault_dir / "generation.txt"
    home.lock()
    mark.unlink(missing_ok=True)
    before = {path.name: path.read_bytes() for path in home.paths.vault_dir.glob("keys*.age")}
    home.unlock()
    assert " 2\n" in mark.read_text()
    assert {path.name: path.read_bytes() for path in home.paths.vault_dir.glob("keys*.age")} == before


@pytest.mark.parametrize("damage", ["missing", "empty"])
def test_keys_that_are_gone_are_restored_on_a_terminal_by_the_command_that_is_named(
    newcomer: Person, damage: str
) -> None:
    newcomer.makes_vault()
    newcomer.does("adopt", "ci-deploy", "--yes")
    newcomer.does("vault", "lock")
    keys = Path(newcomer.environ["KEYTURN_HOME"]) / "data" / "vault" / "keys.age"
    keys.unlink() if damage == "missing" else keys.write_bytes(b"")
    refused = newcomer.keyturn("vault", "unlock", fds={"--passphrase-fd": PASSPHRASE})
    assert "Run: keyturn vault restore" in refused.stderr
    with terminal(
        f"kt-gone-{os.getpid()}", newcomer.environ, "vault", "restore", program=(KEYTURN,)
    ) as screen:
        screen.shows("Passphrase")
        screen.type(PASSPHRASE)
        screen.press("Enter")
        screen.shows("Restored generation", "ended with 0")
    newcomer.does("vault", "unlock", fds={"--passphrase-fd": PASSPHRASE})
