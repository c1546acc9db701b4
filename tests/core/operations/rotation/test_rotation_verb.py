"""The rotate verb as a user types it: real processes, an agent, and AWS tools that continue to work."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from keyturn_sandbox import Sandbox
from keyturn_sandbox.policy.principals import User
from tests.end_to_end.person import PASSPHRASE, WEAK_KEYTURN, Person
from tests.support.campaign import campaign

NAME = "ci-deploy"


def user_of(sandbox: Sandbox, key_id: str) -> User:
    found = sandbox.state.key(key_id)
    assert found is not None
    return found[0]


def status(person: Person, name: str = NAME) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(person.does("rotate", name, "--status", "--json"))
    return found


@pytest.fixture(scope="module", autouse=True)
def key_user(person: Person) -> None:
    person.does("adopt", NAME, "acme-alice", "--yes")


def test_a_rotation_that_is_stopped_shows_goes_on_and_is_finished(person: Person, tmp_path: Path) -> None:
    user = user_of(person.sandbox, status(person)["keys"][0]["key_id"])
    assert "past the rotation policy" in person.keyturn("list").stderr

    done = person.keyturn("rotate", NAME)
    assert (done.returncode, len(user.keys)) == (4, 1), done.stderr
    assert "Use --yes" in done.stderr

    output = person.does("rotate", NAME, "--yes")
    assert [line.split()[0] for line in output.splitlines()[:5]] == [
        "created", "verified", "stored", "delivered", "deactivated"
    ]  # fmt: skip
    assert "--finish" in output.splitlines()[-1]
    assert [key.status for key in user.keys] == ["Inactive", "Active"]
    assert person.aws_identity(NAME) == user.arn
    assert person.row(NAME)["rotation"]["waits"] == "deactivated"

    found = status(person)
    assert {key["held"] for key in found["keys"]} == {"current", "previous"}
    assert set(found["used_by"]) >= {NAME, "ci-audit", "ci-release"}

    words = {"--passphrase-fd": PASSPHRASE, "--new-passphrase-fd": "for the journey"}
    exported = person.run(*WEAK_KEYTURN, "vault", "export", str(tmp_path / "export.age"), "--yes", fds=words)
    assert exported.returncode == 0
    assert f"{NAME}: a rotation is pending, and the export does not include its journal" in exported.stderr

    early = person.keyturn("rotate", NAME, "--finish")
    assert early.returncode == 5
    assert "grace period ends in" in early.stderr
    person.sandbox.move_clock(25 * 3600)
    person.does("vault", "unlock", fds={"--passphrase-fd": PASSPHRASE})
    wanted = person.keyturn("rotate", NAME, "--finish")
    assert wanted.returncode == 4
    wrong = person.keyturn("rotate", NAME, "--finish", "--confirm", "0000")
    assert wrong.returncode == 4
    output = person.does("rotate", NAME, "--finish", "--confirm", user.keys[0].key_id[-4:])
    assert "is deleted" in output.splitlines()[-1]
    assert len(user.keys) == 1
    assert person.row(NAME)["rotation"]["state"] == "ok"


@pytest.mark.campaign
def test_a_key_whose_answer_was_lost_is_one_line_and_goes_on_ones_word(person: Person) -> None:
    (kept,) = status(person)["keys"]
    person.sandbox.faults.order("CreateAccessKey", "answer-lost")
    done = person.keyturn("rotate", NAME, "--yes")
    (lost,) = [key["key_id"] for key in status(person)["keys"] if key["key_id"] != kept["key_id"]]
    assert done.returncode == 5
    line = done.stderr.splitlines()[-1]
    assert line.startswith(f"keyturn: Rotation of {NAME} stopped: a new key was created")
    assert line.endswith(f"To delete it: keyturn rotate {NAME} --drop {lost[-4:]}")
    person.does("rotate", NAME, "--drop", lost[-4:])
    assert [key["key_id"] for key in status(person)["keys"]] == [kept["key_id"]]
    assert person.row(NAME)["rotation"]["waits"] is None


@pytest.mark.campaign
def test_undo_brings_the_old_key_back(person: Person) -> None:
    before = status(person)["keys"]
    person.does("rotate", NAME, "--yes", "--json")
    output = person.does("rotate", NAME, "--undo", "--yes")
    assert "in use, as before" in output.splitlines()[-1]
    assert [key["key_id"] for key in status(person)["keys"]] == [before[0]["key_id"]]
    assert person.boto_identity(NAME)
    nothing = person.keyturn("rotate", NAME, "--undo", "--yes")
    assert nothing.returncode == 3
    assert nothing.stderr.count("\n") == 1


def test_a_policy_that_asks_for_mfa_is_met_by_one_code_for_the_whole_rotation(person: Person) -> None:
    sandbox = person.sandbox
    key_id = person.row("acme-alice")["key_id"]
    found = sandbox.state.key(str(key_id))
    assert found is not None
    user = found[0]
    user.iam_needs_mfa = True
    done = person.keyturn("rotate", "acme-alice", "--yes")
    assert done.returncode == 4, (done.stdout, done.stderr)
    assert "MFA" in done.stderr
    sandbox.move_clock(timedelta(seconds=31).total_seconds())
    output = person.does("rotate", "acme-alice", "--yes", "--mfa-code", sandbox.totp("alice"))
    assert "deactivated" in output
    assert [key.status for key in user.keys] == ["Inactive", "Active"]
    text = person.does("rotate", "acme-alice", "--policy")
    assert "aws:MultiFactorAuthPresent" in text


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (("rotate", "personal"), 1, "Adopt it first: keyturn adopt personal"),
        (("rotate", NAME, "--resume"), 3, "To start one"),
        (("rotate", NAME, "--confirm", "ABCD"), 2, "Invalid option --confirm: it requires --finish"),
        *campaign(
            (("rotate", "ci-audit"), 1, "ci-deploy"),
            (("rotate", "nobody"), 3, "Profile not found: nobody"),
            (("rotate", NAME, "--drop", "ABCD"), 3, "the user has no key that ends in ABCD"),
            (("rotate", NAME, "--status", "--drop", "ABCD"), 2, "exclude each other"),
            (
                ("rotate", NAME, "--undo", "--finish", "--confirm", "ABCD"),
                2,
                "--undo and --finish exclude each other",
            ),
            (("rotate", NAME, "--resume", "--undo"), 2, "--resume and --undo exclude each other"),
        ),
    ],
)
def test_what_cannot_be_is_one_line(person: Person, words: tuple[str, ...], code: int, line: str) -> None:
    done = person.keyturn(*words, *(("--yes",) if words == ("rotate", "personal") else ()))
    assert (done.returncode, line in done.stderr) == (code, True), done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
