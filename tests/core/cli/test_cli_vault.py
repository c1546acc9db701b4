"""The vault's verbs, as scripts and users run them."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyturn.model.secret import Secret
from keyturn_sandbox import Sandbox
from tests.core.vault import weak_age
from tests.end_to_end.person import PASSPHRASE, WEAK_KEYTURN, Person, new_person


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """A user without AWS files, with a vault that holds one key, and its recovery key in `recovery`."""
    with new_person(tmp_path_factory.mktemp("vaults")) as user:
        user.makes_vault()
        user.does("adopt", "personal", "--yes")
        yield user


@pytest.fixture(scope="module")
def recovery_key(person: Person) -> str:
    """Return the recovery key."""
    return person.does("vault", "recovery-key", "--yes", fds={"--passphrase-fd": PASSPHRASE}).strip()


def status(person: Person) -> dict[str, object]:
    found: dict[str, object] = json.loads(person.does("vault", "status", "--json"))
    return found


def test_without_a_vault_every_verb_that_needs_one_says_which_verb_makes_it(tmp_path: Path) -> None:
    with Sandbox(tmp_path / "sandbox") as sandbox:
        user = Person(sandbox)
        for words in (
            ("adopt", "personal", "--yes"),
            ("vault", "unlock"),
            ("vault", "recovery-key", "--yes"),
        ):
            done = user.keyturn(*words)
            assert (done.returncode, done.stdout) == (4, ""), words
            assert "vault init" in done.stderr.splitlines()[-1]
        assert status(user)["state"] == "absent"
        refused = user.keyturn("vault", "init", "--slot", "passphrase")
        assert refused.returncode == 4
        assert "--passphrase-fd" in refused.stderr
        assert status(user)["state"] == "absent"


def test_a_passphrase_that_is_soon_guessed_guards_nothing(tmp_path: Path) -> None:
    with Sandbox(tmp_path, seed=False) as sandbox:
        user = Person(sandbox)
        done = user.keyturn("vault", "init", "--slot", "passphrase", fds={"--passphrase-fd": "p4ssw0r"})
        assert done.returncode == 2
        assert done.stderr == (
            "keyturn: New passphrase: too short (7 characters). Use at least 8; several words are best\n"
        )
        assert status(user)["state"] == "absent"


def test_a_second_vault_is_not_made(person: Person) -> None:
    done = person.keyturn("vault", "init", "--slot", "passphrase", fds={"--passphrase-fd": "other"})
    assert done.returncode == 1
    assert "already" in done.stderr


def test_the_recovery_key_takes_the_passphrase_and_is_one_that_age_knows(
    person: Person, recovery_key: str
) -> None:
    assert recovery_key.startswith("AGE-SECRET-KEY-1")
    without = person.keyturn("vault", "recovery-key", "--yes")
    assert (without.returncode, without.stdout) == (4, "")
    wrong = person.keyturn("vault", "recovery-key", "--yes", fds={"--passphrase-fd": "wrong"})
    assert (wrong.returncode, wrong.stdout) == (1, "")
    age = shutil.which("age")
    if age:
        keys = Path(str(status(person)["folder"])) / "keys.age"
        identity = person.sandbox.home / "identity.txt"
        identity.write_text(recovery_key)
        plain = subprocess.run([age, "-d", "-i", str(identity), str(keys)], capture_output=True, check=True)
        assert b"personal" in plain.stdout


def test_lock_and_the_two_ways_to_unlock(person: Person, recovery_key: str) -> None:
    for fds in ({"--passphrase-fd": PASSPHRASE}, {"--recovery-key-fd": recovery_key}):
        person.does("vault", "lock")
        assert status(person)["state"] == "locked"
        assert json.loads(person.does("agent", "status", "--json"))["running"] is False
        assert person.keyturn("refresh", "personal").returncode == 4
        person.does("vault", "unlock", fds=fds)
        assert status(person)["state"] == "open"
        running = json.loads(person.does("agent", "status", "--json"))
        assert running["running"] is True
        assert running["pid"] > 1
        person.does("refresh", "personal")


@pytest.mark.usefixtures("recovery_key")
def test_a_wrong_passphrase_is_one_line_and_changes_nothing(person: Person) -> None:
    person.does("vault", "lock")
    done = person.keyturn("vault", "unlock", fds={"--passphrase-fd": "wrong"})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert status(person)["state"] == "locked"
    person.does("agent", "start", fds={"--passphrase-fd": PASSPHRASE})
    assert "Running" in person.does("agent", "status")


@pytest.mark.campaign
def test_a_forgotten_passphrase_is_set_anew_by_the_recovery_key(person: Person, recovery_key: str) -> None:
    person.does(
        "vault",
        "reset-passphrase",
        fds={"--recovery-key-fd": recovery_key, "--new-passphrase-fd": "brand new"},
    )
    person.does("vault", "lock")
    assert person.keyturn("vault", "unlock", fds={"--passphrase-fd": PASSPHRASE}).returncode == 1
    person.does("vault", "unlock", fds={"--passphrase-fd": "brand new"})
    person.does(
        "vault", "passphrase", fds={"--passphrase-fd": "brand new", "--new-passphrase-fd": PASSPHRASE}
    )
    person.does("vault", "lock")
    person.does("vault", "unlock", fds={"--passphrase-fd": PASSPHRASE})


@pytest.mark.campaign
def test_an_export_opens_on_a_second_home_and_works_there_at_once(
    person: Person, tmp_path: Path, recovery_key: str
) -> None:
    export = tmp_path / "export.age"
    person.does(
        "vault", "export", str(export), "--yes",
        fds={"--passphrase-fd": PASSPHRASE, "--new-passphrase-fd": "for the road"},
    )  # fmt: skip
    assert export.stat().st_mode & 0o777 == 0o600
    again = person.keyturn("vault", "export", str(export), "--yes", fds={"--passphrase-fd": PASSPHRASE})
    assert again.returncode == 5, "an existing file is not written over"
    second = Person(person.sandbox)
    second.environ["KEYTURN_HOME"] = str(tmp_path / "second")
    second.does(
        "vault",
        "import",
        str(export),
        fds={"--passphrase-fd": "for the road", "--new-passphrase-fd": "second home"},
    )
    assert status(second)["state"] == "locked"
    weak_age.weaken(Path(str(status(second)["folder"])), Secret(recovery_key), Secret("second home"))
    second.does("vault", "unlock", fds={"--passphrase-fd": "second home"})
    assert json.loads(second.does("credential-process", "personal"))["AccessKeyId"].startswith("ASIA")
    over = second.does("vault", "import", str(export), fds={"--passphrase-fd": "for the road"})
    assert over == "The vault already existed; its keys are not changed.\n"
    second.leaves()
    shown = second.does("vault", "recovery-key", "--yes", fds={"--passphrase-fd": "second home"})
    assert shown == person.does("vault", "recovery-key", "--yes", fds={"--passphrase-fd": PASSPHRASE})


def test_the_recovery_key_is_written_to_a_descriptor_and_a_damaged_vault_is_brought_back(
    tmp_path: Path,
) -> None:
    with Sandbox(tmp_path / "sandbox") as sandbox:
        user = Person(sandbox)
        line = f'vault init --slot passphrase --recovery-out-fd 9 "$@" 9>{tmp_path}/key'
        done = user.run(
            "sh", "-c", f"{shlex.join(WEAK_KEYTURN)} {line}",
            "sh",
            fds={"--passphrase-fd": PASSPHRASE},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        key = (tmp_path / "key").read_text().strip()
        assert key.startswith("AGE-SECRET-KEY-1")
        assert status(user)["recovery_key_seen"] is True
        _named_not_written_over_and_brought_back(user)
        user.leaves()


def test_secrets_are_not_taken_from_a_descriptor_that_is_closed_or_empty(person: Person) -> None:
    done = person.keyturn("vault", "unlock", "--passphrase-fd", "77")
    assert done.returncode == 2
    assert "77" in done.stderr
    empty = person.keyturn("vault", "unlock", fds={"--passphrase-fd": ""})
    assert empty.returncode == 2


def _named_not_written_over_and_brought_back(user: Person) -> None:
    user.does("adopt", "personal", "--yes")
    user.does("adopt", "gov-ops", "--yes")
    user.does("vault", "lock")
    keys = Path(str(status(user)["folder"])) / "keys.age"
    damaged = bytearray(keys.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    keys.write_bytes(damaged)
    refused = user.keyturn("vault", "unlock", fds={"--passphrase-fd": PASSPHRASE})
    assert refused.returncode == 1
    assert "keyturn vault restore" in refused.stderr
    assert keys.read_bytes() == damaged
    output = user.does("vault", "restore", fds={"--passphrase-fd": PASSPHRASE})
    assert "Restored" in output
    assert "Missing from the vault: the key of gov-ops" in output
    assert damaged in [path.read_bytes() for path in keys.parent.iterdir() if path.is_file()]
    user.does("vault", "unlock", fds={"--passphrase-fd": PASSPHRASE})
    user.does("refresh", "personal")
