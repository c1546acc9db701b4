"""The commands of a rotation, through the installed program: each confirms what it says and no more, and each
command that an error names changes something."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from keyturn.operations.rotation.record_store import journal_of
from keyturn.service import CredentialService
from keyturn_sandbox.policy.principals import LastUse, User
from tests.end_to_end.person import PASSPHRASE, Person

NAME = "ci-deploy"


@dataclass
class Rotated:
    """A user whose key is rotated, up to the deletion of the old one."""

    person: Person
    user: User
    old_id: str
    new_id: str

    def finish(self, *words: str) -> tuple[int, str]:
        """Run `rotate --finish WORDS`. Return the exit code and the error line."""
        done = self.person.keyturn("rotate", NAME, "--finish", *words)
        assert done.stderr.count("\n") <= 1
        return done.returncode, done.stderr

    def use_old_key(self) -> None:
        """Let something use the old key after the new one replaced it, as AWS reports it."""
        time.sleep(1.1)  # AWS reports whole seconds
        now = self.person.sandbox.state.now()
        self.user.keys[0].record_use(LastUse(now, "s3", "eu-west-1"))

    def statuses(self) -> dict[str, str]:
        return {key.key_id: key.status for key in self.user.keys}

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.person.does("rotate", NAME, "--status", "--json"))
        return found


@pytest.fixture
def rotated(newcomer: Person) -> Rotated:
    newcomer.makes_vault()
    newcomer.does("adopt", NAME, "--yes")
    newcomer.does("rotate", NAME, "--yes")
    found = newcomer.sandbox.state.key(newcomer.row(NAME)["key_id"])
    assert found is not None
    user, new = found
    (old,) = (key for key in user.keys if key is not new)
    return Rotated(newcomer, user, old.key_id, new.key_id)


def ask_agent(person: Person, operation: str, arguments: Mapping[str, object]) -> dict[str, Any]:
    """Return the agent's answer to an operation, as another version of keyturn requests it."""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(person.socket))
        request = {"v": 1, "op": "run", "act": operation, "args": arguments}
        line.sendall(json.dumps(request).encode() + b"\n")
        answer: dict[str, Any] = json.loads(line.makefile("rb").readline())
        return answer


# -- the deletion of the old key -----------------------------------------------------------------------------


def test_the_last_four_characters_do_not_override_the_grace_period(rotated: Rotated) -> None:
    last_four = rotated.old_id[-4:]
    code, line = rotated.finish("--confirm", last_four)
    assert (code, rotated.statuses()) == (5, {rotated.old_id: "Inactive", rotated.new_id: "Active"})
    assert "its grace period ends in" in line
    assert line.endswith(f"keyturn rotate {NAME} --finish --confirm {last_four} --force grace\n")
    assert rotated.finish("--confirm", last_four, "--force", "grace")[0] == 0
    assert rotated.statuses() == {rotated.new_id: "Active"}


def test_each_obstacle_is_overridden_by_its_own_word(rotated: Rotated) -> None:
    last_four = rotated.old_id[-4:]
    rotated.use_old_key()
    for word, other in (("grace", "after the new key replaced it"), ("used", "its grace period ends in")):
        code, line = rotated.finish("--confirm", last_four, "--force", word)
        assert (code, len(rotated.user.keys)) == (5, 2)
        assert other in line
        assert f"--confirm {last_four} --force used,grace" in line
    assert rotated.finish("--confirm", last_four, "--force", "grace,used")[0] == 0
    assert rotated.statuses() == {rotated.new_id: "Active"}


@pytest.mark.parametrize(
    "words",
    [
        ("--finish", "--force", "grace"),
        ("--force", "grace"),
        ("--undo", "--force", "grace"),
        ("--finish", "--confirm", "AAAA", "--force", "grace,late"),
        ("--finish", "--confirm", "AAAA", "--force", ""),
    ],
)
def test_the_override_needs_the_confirmation_and_known_words(
    newcomer: Person, words: tuple[str, ...]
) -> None:
    done = newcomer.keyturn("rotate", NAME, *words)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "Invalid option --force: " in done.stderr


def test_an_older_program_that_names_no_obstacle_overrides_none(rotated: Rotated) -> None:
    arguments = {"name": NAME, "code": None, "last_four": rotated.old_id[-4:]}
    answer = ask_agent(rotated.person, "rotate-finish", arguments)
    assert answer["ok"] is False
    assert rotated.statuses() == {rotated.old_id: "Inactive", rotated.new_id: "Active"}
    arguments["force"] = ["grace"]  # type: ignore[assignment]  # as JSON
    assert ask_agent(rotated.person, "rotate-finish", arguments)["ok"] is True


def test_a_drop_keeps_a_key_in_its_grace_period_after_the_record_was_lost(rotated: Rotated) -> None:
    (record,) = (rotated.person.sandbox.home.parent / "keyturn" / "data" / "vault" / "rotation").glob("*.age")
    record.unlink()
    rotated.person.sandbox.move_clock(5 * 24 * 3600)  # it may have been deactivated since
    rotated.person.does("vault", "unlock", fds={"--passphrase-fd": PASSPHRASE})
    done = rotated.person.keyturn("rotate", NAME, "--drop", rotated.old_id[-4:])
    assert (done.returncode, done.stderr.count("\n")) == (5, 1), done.stderr
    assert rotated.statuses() == {rotated.old_id: "Inactive", rotated.new_id: "Active"}
    rotated.person.sandbox.move_clock(25 * 3600)
    rotated.person.does("vault", "unlock", fds={"--passphrase-fd": PASSPHRASE})
    rotated.person.does("rotate", NAME, "--drop", rotated.old_id[-4:])
    assert rotated.statuses() == {rotated.new_id: "Active"}


# -- keys that were changed at AWS ---------------------------------------------------------------------------


def test_an_undo_ends_after_the_new_key_was_deleted_and_the_old_one_reactivated_at_aws(
    rotated: Rotated,
) -> None:
    person, state = rotated.person, rotated.person.sandbox.state
    old, new = rotated.user.keys
    state.delete_key(rotated.user, new)
    state.set_status(old, "Active")
    with ThreadPoolExecutor() as pool:
        undo = pool.submit(person.keyturn, "rotate", NAME, "--undo", "--yes")
        time.sleep(3)  # within it the vault returns to the old key, and then AWS's list must have settled
        person.sandbox.move_clock(125)
        done = undo.result()
    assert done.returncode == 0, done.stderr
    assert "is already deleted at AWS" in done.stderr
    assert done.stdout.splitlines()[-1].endswith("is in use, as before")
    row = person.row(NAME)
    assert (row["key_id"], row["rotation"]["waits"]) == (rotated.old_id, None)
    assert person.aws_identity(NAME) == rotated.user.arn
    assert person.keyturn("rotate", NAME, "--undo", "--yes").returncode == 3


def test_a_new_key_that_is_inactive_at_aws_is_named_by_status_and_finish(rotated: Rotated) -> None:
    state = rotated.person.sandbox.state
    old, new = rotated.user.keys
    state.set_status(old, "Active")
    state.set_status(new, "Inactive")
    rotated.person.sandbox.move_clock(300)
    drift = f"AKIA…{rotated.new_id[-4:]} is inactive at AWS, changed outside keyturn, and the vault uses it"
    code, line = rotated.finish("--confirm", rotated.old_id[-4:])
    assert (code, drift in line) == (5, True), line
    assert "--finish" not in line
    assert drift in rotated.person.does("rotate", NAME, "--status")
    assert rotated.statuses() == {rotated.old_id: "Active", rotated.new_id: "Inactive"}
    assert rotated.person.keyturn("rotate", NAME, "--undo", "--yes").returncode == 0
    assert rotated.statuses() == {rotated.old_id: "Active"}


def test_a_key_that_aws_does_not_accept_is_not_said_to_work(rotated: Rotated) -> None:
    rotated.person.sandbox.state.set_status(rotated.user.keys[1], "Inactive")
    done = rotated.person.keyturn("rotate", NAME, "--status")
    assert done.returncode == 1
    assert f"AKIA…{rotated.new_id[-4:]} everywhere yet, or it was deactivated or deleted there" in done.stderr
    assert "is in use" not in done.stderr


# -- files that cannot be read -------------------------------------------------------------------------------


def test_an_unreadable_file_of_definitions_is_named_instead_of_a_missing_profile(newcomer: Person) -> None:
    keys = newcomer.credentials.read_text().split(f"[{NAME}]\n")[1].split("\n\n")[0]
    with newcomer.credentials.open("a") as file:
        file.write(f"\n[solo]\n{keys}\n")
    newcomer.makes_vault()
    newcomer.does("adopt", "solo", "--yes")
    newcomer.does("deliver", "solo", "--to", "nowhere")
    for path, header in ((newcomer.config, "[profile solo]"), (newcomer.credentials, "[solo]")):
        path.write_text(path.read_text().replace(header, ""))  # as a person tidies up what is empty
    profiles = newcomer.sandbox.home.parent / "keyturn" / "config" / "profiles.toml"
    profiles.write_text("version = = 1\n")
    for words in (
        ("rotate", "solo", "--yes"), ("rotate", "solo", "--resume"), ("rotate", "solo", "--policy"),
        ("show", "solo"), ("refresh", "solo"), ("stop", "solo"),
    ):  # fmt: skip
        done = newcomer.keyturn(*words)
        assert done.returncode == 5, (words, done.stderr)
        line = done.stderr.splitlines()[-1]
        assert line.startswith("keyturn: Could not read "), words
        assert "profiles.toml: Invalid value (at line 1" in line


def test_a_record_with_a_time_without_a_zone_is_refused_and_set_aside(newcomer: Person) -> None:
    recovery_key = newcomer.makes_vault()
    newcomer.does("adopt", NAME, "--yes")
    newcomer.does("rotate", NAME, "--yes")
    here = CredentialService.from_environ(newcomer.environ, use_agent=False)
    here.unlock_here(recovery_key=recovery_key)
    journal = journal_of(here.context)
    (name,) = journal.names()
    table = journal.read(name)
    assert table is not None
    journal.write(name, {**table, "created": "2026-03-14T13:05:12"})
    for flag in ("--resume", "--status", "--finish"):
        done = newcomer.keyturn("rotate", NAME, flag)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
        assert (
            f"Unreadable record rotation/{name}.age: it decrypts, but is not a rotation record" in done.stderr
        )
        assert "keyturn vault restore" in done.stderr
    newcomer.does("vault", "restore", fds={"--recovery-key-fd": recovery_key.reveal()})
    (aside,) = journal.path_of(name).parent.glob("*.damaged-*")
    here.unlock_here(recovery_key=recovery_key)
    assert json.loads(here.context.vault.open(aside.read_bytes()))["record"]["new"] == table["new"]
