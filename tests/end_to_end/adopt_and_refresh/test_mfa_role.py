"""A role over a user with an MFA device is assumed with the user's MFA session, whether the role names the
device or not."""

from __future__ import annotations

import json
import time

import pytest

from keyturn_sandbox import Sandbox
from keyturn_sandbox.policy.principals import Role, User
from tests.end_to_end.person import BIN, Person

ACCOUNT = "111122223333"
HOUR = 3600
ALICE = "acme-alice"
ADMIN = f"arn:aws:iam::{ACCOUNT}:role/Adm"
PROFILES = f"""
[profile adm]
role_arn = {ADMIN}
source_profile = {ALICE}
region = eu-west-1

[profile far]
role_arn = arn:aws:iam::{ACCOUNT}:role/Far
source_profile = adm
region = eu-west-1
"""


@pytest.fixture
def alice(newcomer: Person) -> Person:
    """A user whose key is managed, with a native role that requires MFA and one behind that."""
    state = newcomer.sandbox.state
    mfa = {"Bool": {"aws:MultiFactorAuthPresent": "true"}}
    root = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
    trust = {"Effect": "Allow", "Principal": root, "Action": "sts:AssumeRole"}
    far = f"arn:aws:iam::{ACCOUNT}:role/Far"
    state.add_role(ACCOUNT, "Adm", [{**trust, "Condition": mfa}], max_session=12 * HOUR, may_assume=(far,))
    state.add_role(ACCOUNT, "Far", [trust])
    user = user_of(newcomer.sandbox)
    user.may_assume = (*user.may_assume, ADMIN)
    newcomer.config.write_text(newcomer.config.read_text() + PROFILES)
    newcomer.makes_vault()
    newcomer.does("agent", "pause")  # the tests count calls, and those of a renewal come at any time
    # Without dependents, so that the roles stay native.
    newcomer.does("adopt", ALICE, "--yes")
    newcomer.does("release", "adm", "far", "--yes")
    return newcomer


def user_of(sandbox: Sandbox) -> User:
    user = sandbox.state.user("aws", ACCOUNT, "alice")
    assert user is not None
    return user


def role_of(sandbox: Sandbox) -> Role:
    role = sandbox.state.role(ADMIN)
    assert role is not None
    return role


def give_code(person: Person, profile: str = ALICE) -> None:
    person.sandbox.move_clock(30)
    person.does("refresh", profile, "--mfa-code", person.sandbox.totp("alice"))


def denials(person: Person) -> int:
    return sum(call.action == "AssumeRole" and call.error is not None for call in person.sandbox.calls)


def assert_asks_for_code(person: Person, *words: str) -> None:
    done = person.keyturn(*words)
    assert done.returncode == 4, (words, done.stdout, done.stderr)
    assert f"keyturn refresh {ALICE} --mfa-code CODE" in done.stderr
    assert "AccessDenied" in done.stderr
    assert "MFA" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_native_role_is_assumed_with_the_mfa_session_of_its_user(alice: Person) -> None:
    assert_asks_for_code(alice, "exec", "adm", "--", "true")
    give_code(alice)
    assert ":assumed-role/Adm/" in alice.aws_identity("adm")
    alice.does("exec", "adm", "--", "true")
    assert "AWS_SESSION_TOKEN" in alice.does("env", "adm", "--shell", "sh")
    alice.does("exec", "far", "--", "true")


def test_adopt_leaves_a_working_role_working(alice: Person) -> None:
    give_code(alice)
    assert ":assumed-role/Adm/" in alice.aws_identity("adm")
    assert ":assumed-role/Far/" in alice.aws_identity("far")
    alice.does("adopt", "adm", "--yes")
    assert alice.row("far")["managed"]
    for name, role in (("adm", "Adm"), ("far", "Far")):
        assert f":assumed-role/{role}/" in alice.aws_identity(name)
        assert f":assumed-role/{role}/" in alice.boto_identity(name)


def test_the_end_of_the_mfa_session_is_told_and_a_code_of_any_profile_helps(alice: Person) -> None:
    alice.does("adopt", "adm", "--yes")
    alice.does("set", ALICE, "duration=2h")
    give_code(alice)
    alice.does("credential-process", "adm")
    alice.sandbox.move_clock(3 * HOUR)
    before = denials(alice)
    assert_asks_for_code(alice, "refresh", "adm")
    assert denials(alice) == before + 1, "the key itself is tried once"
    assert_asks_for_code(alice, "refresh", "far")
    denied = denials(alice)
    assert alice.does("refresh", "--due") == "No session is due.\n", "only a person can renew it"
    assert denials(alice) == denied
    give_code(alice, "adm")
    assert json.loads(alice.does("credential-process", ALICE))["SessionToken"], "the code serves its user too"
    alice.does("refresh", "far")


def test_a_role_that_requires_no_mfa_needs_none(alice: Person) -> None:
    role_of(alice.sandbox).trust = tuple(
        {key: value for key, value in statement.items() if key != "Condition"}
        for statement in role_of(alice.sandbox).trust
    )
    alice.does("exec", "adm", "--", "true")
    alice.does("adopt", "adm", "--yes")
    alice.does("set", "adm", "duration=4h")
    give_code(alice)
    row = json.loads(alice.does("refresh", "adm", "--json"))["results"][0]
    assert row["ok"]
    assert int(last_params(alice)["DurationSeconds"]) == 4 * HOUR, "the key itself makes the longer session"
    assert denials(alice) == 0


def last_params(person: Person) -> dict[str, str]:
    return dict([call for call in person.sandbox.calls if call.action == "AssumeRole"][-1].params)


def test_a_long_role_that_requires_mfa_gets_an_hour_or_a_code_of_its_own(alice: Person) -> None:
    alice.does("adopt", "adm", "--yes")
    alice.does("set", "adm", "duration=4h")
    give_code(alice)
    alice.does("refresh", "adm")
    assert int(last_params(alice)["DurationSeconds"]) == HOUR
    assert denials(alice) == 1
    alice.does("refresh", "adm")
    assert denials(alice) == 1, "the key is not tried again while there is an MFA session"
    give_code(alice, "adm")
    assert int(last_params(alice)["DurationSeconds"]) == 4 * HOUR


def test_one_code_serves_both_in_either_order(alice: Person) -> None:
    for names in (("adm", ALICE), (ALICE, "adm")):
        alice.sandbox.move_clock(30)
        done = alice.keyturn("refresh", *names, "--mfa-code", alice.sandbox.totp("alice"))
        assert "MultiFactorAuthentication failed" not in done.stderr, "no code is sent twice"
        assert ":assumed-role/Adm/" in alice.aws_identity("adm")


def test_a_command_for_codes_serves_the_role_too(alice: Person) -> None:
    folder = alice.sandbox.folder
    line = [str(BIN / "python"), "-m", "keyturn_sandbox", "totp", "{serial}"]
    config = folder / "keyturn" / "config" / "config.toml"
    config.parent.mkdir(parents=True, exist_ok=True)
    env = ["/usr/bin/env", f"KEYTURN_SANDBOX={folder}", f"KEYTURN_HOME={folder / 'keyturn'}"]
    config.write_text(f"[mfa_commands]\n{ALICE} = {json.dumps([*env, *line])}\n")
    alice.sandbox.move_clock(30)
    alice.does("exec", "adm", "--", "true")
    alice.does("exec", "adm", "--", "true")
    assert sum(call.action == "GetSessionToken" for call in alice.sandbox.calls) == 1


def test_a_missing_permission_is_told_in_the_words_of_aws(alice: Person) -> None:
    give_code(alice)
    role_of(alice.sandbox).trust = ()
    for _ in range(2):
        done = alice.keyturn("exec", "adm", "--", "true")
        assert done.returncode == 1, done.stderr
        assert "is not authorized to perform: sts:AssumeRole" in done.stderr
    assert denials(alice) == 4, "the session and the key, each once"


def test_the_agent_renews_with_the_mfa_session_while_it_lasts(alice: Person) -> None:
    alice.does("agent", "resume")
    alice.does("adopt", "adm", "--yes")
    give_code(alice)
    alice.does("refresh", "adm")
    alice.does("credential-process", "adm")
    first = alice.row("adm")["key_id"]
    alice.sandbox.move_clock(50 * 60)
    deadline = time.monotonic() + 60
    while alice.row("adm")["key_id"] == first:
        assert time.monotonic() < deadline, "the agent renews what is due"
        time.sleep(0.5)
    assert alice.row("adm")["state"] == "fresh"
    assert denials(alice) == 0
