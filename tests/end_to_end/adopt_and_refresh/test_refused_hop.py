"""A chain of managed roles survives the end of a session in its middle: AWS refuses it before its expiry, and
it is made anew once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keyturn_sandbox import Sandbox
from keyturn_sandbox.policy.principals import Role
from tests.end_to_end.person import PASSPHRASE, Person

ACCOUNT = "111122223333"
KEY = "acme-build"
HOPS = ("hop1", "hop2", "hop3")
ARN = f"arn:aws:iam::{ACCOUNT}:role/{{}}"
PROFILES = "".join(
    f"""
[profile {name}]
role_arn = {ARN.format(name)}
source_profile = {source}
region = eu-west-1
"""
    for name, source in zip(HOPS, (KEY, *HOPS), strict=False)
)


def add_role(sandbox: Sandbox, name: str) -> Role:
    """Add a role that every identity of its account may assume."""
    trust = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
        "Action": "sts:AssumeRole",
    }
    return sandbox.state.add_role(ACCOUNT, name, [trust], may_assume=(ARN.format("*"),))


def role_of(sandbox: Sandbox, name: str) -> Role:
    role = sandbox.state.role(ARN.format(name))
    assert role is not None
    return role


@pytest.fixture(scope="module")
def chain(person: Person) -> Person:
    """A user with a managed chain of three roles."""
    for name in HOPS:
        add_role(person.sandbox, name)
    user = person.sandbox.state.user("aws", ACCOUNT, "build")
    assert user is not None
    user.may_assume = (*user.may_assume, ARN.format("*"))
    person.config.write_text(person.config.read_text() + PROFILES)
    person.does("adopt", KEY, "--yes")
    person.does("agent", "pause")  # the tests count calls, and those of a renewal come at any time
    return person


def revoke(sandbox: Sandbox, name: str) -> None:
    """Deny all to the sessions of a role that were issued until now, as the console does."""
    sandbox.state.revoke_sessions(role_of(sandbox, name))


def expire(sandbox: Sandbox, name: str) -> None:
    sandbox.state.end_sessions(role_of(sandbox, name))


def create_anew(sandbox: Sandbox, name: str) -> None:
    """Delete a role and create it again, so that its sessions belong to no role."""
    sandbox.state.remove_role(role_of(sandbox, name))
    add_role(sandbox, name)


END_SESSIONS: dict[str, Callable[[Sandbox, str], None]] = {
    "AccessDenied": revoke,
    "ExpiredToken": expire,
    "InvalidClientTokenId": create_anew,
}


def assumed(person: Person) -> list[tuple[str, str | None]]:
    """Return the role and the error code of each AssumeRole call."""
    calls = [call for call in person.sandbox.calls if call.action == "AssumeRole"]
    return [(call.params["RoleArn"].rpartition("/")[2], call.error) for call in calls]


def refresh_all(person: Person) -> None:
    """Give each profile a session that AWS accepts."""
    for name in HOPS:
        person.does("refresh", name)
    person.sandbox.move_clock(2)  # a session of the second of its revocation is denied too
    person.sandbox.calls.clear()


@pytest.mark.parametrize("code", END_SESSIONS)
def test_a_refused_session_is_made_anew_once(chain: Person, code: str) -> None:
    refresh_all(chain)
    END_SESSIONS[code](chain.sandbox, "hop1")
    chain.sandbox.move_clock(2)
    before = chain.row("hop1")["key_id"]
    chain.does("refresh", "hop2")
    assert assumed(chain) == [("hop2", code), ("hop1", None), ("hop2", None)]
    assert chain.row("hop1")["key_id"] != before
    chain.sandbox.calls.clear()
    chain.does("refresh", "hop2")
    assert assumed(chain) == [("hop2", None)]


def test_each_refused_hop_is_made_anew_from_below(chain: Person) -> None:
    refresh_all(chain)
    revoke(chain.sandbox, "hop1")
    revoke(chain.sandbox, "hop2")
    chain.sandbox.move_clock(2)
    chain.does("refresh", "hop3")
    assert assumed(chain) == [
        ("hop3", "AccessDenied"),
        ("hop2", "AccessDenied"),
        ("hop1", None),
        ("hop2", None),
        ("hop3", None),
    ]


@pytest.mark.parametrize("verb", ["exec", "env", "credential-process"])
def test_programs_are_served_though_a_hop_is_refused(chain: Person, verb: str) -> None:
    refresh_all(chain)
    chain.does("stop", "hop3")
    revoke(chain.sandbox, "hop2")
    chain.sandbox.move_clock(2)
    words = {"exec": ("exec", "--endpoint", "hop3", "--", "true"), "env": ("env", "hop3", "--shell", "sh")}
    chain.does(*words.get(verb, (verb, "hop3")))
    assert assumed(chain) == [("hop3", "AccessDenied"), ("hop2", None), ("hop3", None)]


def test_a_missing_permission_costs_one_new_session_and_no_more(chain: Person) -> None:
    refresh_all(chain)
    role = role_of(chain.sandbox, "hop3")
    trust, role.trust = role.trust, ()
    try:
        for calls in (3, 1, 1):
            chain.sandbox.calls.clear()
            done = chain.keyturn("refresh", "hop3")
            assert done.returncode == 1, done.stderr
            assert done.stderr.startswith(
                "keyturn: Could not refresh hop3: sts:AssumeRole: AccessDenied: User: "
            )
            assert "is not authorized to perform: sts:AssumeRole" in done.stderr
            assert "keyturn refresh hop2" in done.stderr
            assert len(assumed(chain)) == calls
        chain.sandbox.calls.clear()
        assert ":assumed-role/hop2/" in chain.aws_identity("hop2"), "its source keeps a session that works"
    finally:
        role.trust = trust
    chain.does("refresh", "hop3")


def test_an_error_names_the_hop_that_cannot_be_made_anew(chain: Person) -> None:
    refresh_all(chain)
    role = role_of(chain.sandbox, "hop1")
    trust = role.trust
    expire(chain.sandbox, "hop2")
    expire(chain.sandbox, "hop1")
    role.trust = ()
    try:
        done = chain.keyturn("refresh", "hop3")
        assert done.returncode == 1, done.stderr
        assert "sts:AssumeRole of hop1: AccessDenied" in done.stderr
        assert len(assumed(chain)) == 3
        assert chain.row("hop1")["state"] == chain.row("hop2")["state"] == "none", "they are not handed out"
        assert chain.row("hop3")["state"] == "fresh"
    finally:
        role.trust = trust
    chain.does("refresh", "hop3")


def test_a_session_refused_twice_names_what_to_run(chain: Person) -> None:
    refresh_all(chain)
    chain.sandbox.faults.refuse("AssumeRole", "ExpiredToken", "The token is expired", status=403, times=None)
    try:
        done = chain.keyturn("refresh", "hop1")
        assert "keyturn refresh hop" not in done.stderr, "it has no hop"
        chain.sandbox.calls.clear()
        done = chain.keyturn("refresh", "hop2")
        assert done.returncode == 1
        assert "hop1" in done.stderr
        assert len(assumed(chain)) == 2
    finally:
        chain.sandbox.faults.clear()


def test_a_revoked_mfa_session_asks_for_a_code(chain: Person) -> None:
    user = chain.sandbox.state.user("aws", ACCOUNT, "alice")
    assert user is not None
    chain.does("adopt", "acme-alice", "--yes")
    chain.sandbox.move_clock(30)
    chain.does("refresh", "prod-admin", "--mfa-code", chain.sandbox.totp("alice"))
    chain.sandbox.state.end_sessions(user)
    done = chain.keyturn("refresh", "prod-admin")
    assert done.returncode == 4, done.stderr
    assert "MFA code" in done.stderr
    chain.sandbox.calls.clear()
    assert chain.keyturn("refresh", "prod-admin").returncode == 4
    assert assumed(chain) == [], "the ended session is not tried again"
    chain.sandbox.move_clock(30)
    chain.does("refresh", "prod-admin", "--mfa-code", chain.sandbox.totp("alice"))
    chain.does("release", "--all", "--yes", fds={"--passphrase-fd": PASSPHRASE})
