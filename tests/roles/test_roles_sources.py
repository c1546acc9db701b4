"""`credential_source`: a role that is assumed with whatever the one who asks has, and nobody else's identity ever."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from subprocess import CompletedProcess

import pytest

from keyturn_sandbox.principals import AccessKey
from tests.roles.machine import serving
from tests.whole.person import BIN, Person

ACCOUNT = "111122223333"
PROFILES = f"""
[profile by-environment]
role_arn = arn:aws:iam::{ACCOUNT}:role/Shared
credential_source = Environment
role_session_name = shared
duration_seconds = 900
region = eu-west-1

[profile next-hop]
role_arn = arn:aws:iam::{ACCOUNT}:role/Next
source_profile = by-environment
region = eu-west-1

[profile by-container]
role_arn = arn:aws:iam::{ACCOUNT}:role/Shared
credential_source = EcsContainer
region = eu-west-1

[profile by-instance]
role_arn = arn:aws:iam::{ACCOUNT}:role/Shared
credential_source = Ec2InstanceMetadata
region = eu-west-1
"""


@pytest.fixture
def shared(person: Person) -> Person:
    """Somebody with roles by credential source, and two users who may assume them."""
    state = person.sandbox.state
    arn = f"arn:aws:iam::{ACCOUNT}:root"
    trust = [{"Effect": "Allow", "Principal": {"AWS": arn}, "Action": "sts:AssumeRole"}]
    roles = (f"arn:aws:iam::{ACCOUNT}:role/Shared", f"arn:aws:iam::{ACCOUNT}:role/Next")
    if state.role(roles[0]) is None:
        state.add_role(ACCOUNT, "Shared", trust, may_assume=roles[1:])
        state.add_role(ACCOUNT, "Next", trust)
        state.add_role(ACCOUNT, "Machine", trust, may_assume=roles[:1])
        with person.config.open("a") as file:
            file.write(PROFILES)
    return person


def user_key(person: Person, name: str) -> AccessKey:
    state = person.sandbox.state
    found = state.user("aws", ACCOUNT, name)
    user = found or state.add_user(ACCOUNT, name, may_assume=(f"arn:aws:iam::{ACCOUNT}:role/Shared",))
    return user.keys[0] if user.keys else state.add_key(user)


def environment(key: AccessKey) -> dict[str, str]:
    return {"AWS_ACCESS_KEY_ID": key.key_id, "AWS_SECRET_ACCESS_KEY": key.secret.reveal()}


def identity(person: Person, profile: str, extra: dict[str, str]) -> CompletedProcess[str]:
    return person.run(
        str(BIN / "aws"), "sts", "get-caller-identity", "--profile", profile, "--output", "json", extra=extra
    )


def signer_of_last_assume(person: Person) -> str:
    return [call for call in person.sandbox.calls if call.action == "AssumeRole"][-1].key_id


def test_the_environment_of_whoever_asks_signs_and_no_other(shared: Person) -> None:
    shared.does("adopt", "by-environment", "--yes")
    assert "credential_source" not in shared.config.read_text().partition("by-environment]")[2].split("[")[0]
    shared.does("vault", "unlock", fds={"--passphrase-fd": "correct horse battery staple"})
    one, other = user_key(shared, "one"), user_key(shared, "other")
    expected = f"arn:aws:sts::{ACCOUNT}:assumed-role/Shared/shared"
    for key in (one, other, one):
        done = identity(shared, "by-environment", environment(key))
        assert json.loads(done.stdout)["Arn"] == expected, done.stderr
        assert signer_of_last_assume(shared) == key.key_id
    boto = shared.run(
        sys.executable, "-c",
        "import boto3; print(boto3.Session(profile_name='next-hop').client('sts').get_caller_identity()['Arn'])",
        extra=environment(other),
    )  # fmt: skip
    assert boto.stdout.strip() == f"arn:aws:sts::{ACCOUNT}:assumed-role/Next/keyturn-next-hop", boto.stderr
    without = shared.keyturn("credential-process", "by-environment")
    assert without.returncode == 1
    assert without.stdout == ""
    assert without.stderr == (
        "keyturn: credential_source Environment of by-environment: AWS_ACCESS_KEY_ID is not set in the environment of "
        "whoever asks. Export AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the shell that asks\n"
    )
    partial = shared.run(
        str(BIN / "keyturn"), "credential-process", "by-environment", extra={"AWS_ACCESS_KEY_ID": one.key_id}
    )
    assert partial.returncode == 1
    assert partial.stderr.count("\n") == 1
    assert "AWS_SECRET_ACCESS_KEY" in partial.stderr
    assert shared.row("by-environment")["state"] == "none"
    refreshed = shared.run(str(BIN / "keyturn"), "refresh", "by-environment", extra=environment(one))
    assert refreshed.returncode == 0, refreshed.stderr
    assert "kept nowhere" in refreshed.stdout
    assert shared.row("by-environment")["state"] == "none"
    assert shared.row("by-environment")["source"] == "Environment"
    shared.releases("--all")
    assert PROFILES in shared.config.read_text()


def test_a_native_profile_takes_the_askers_environment_too(shared: Person) -> None:
    shared.does("vault", "unlock", fds={"--passphrase-fd": "correct horse battery staple"})
    for name in ("one", "other"):
        key = user_key(shared, name)
        done = shared.run(
            str(BIN / "keyturn"), "refresh", "by-environment", "next-hop", extra=environment(key)
        )
        assert done.returncode == 0, done.stderr
        signers = [call.key_id for call in shared.sandbox.calls if call.action == "AssumeRole"]
        assert signers[-3:-1] == [key.key_id, key.key_id]


@pytest.mark.parametrize("managed", [False, True])
def test_a_container_and_an_instance_sign_through_botocores_own_providers(
    shared: Person, managed: bool
) -> None:
    machine = shared.sandbox.state.role(f"arn:aws:iam::{ACCOUNT}:role/Machine")
    assert machine is not None
    session = shared.sandbox.state.add_session(machine, timedelta(hours=6), name="machine")
    if managed:
        shared.does("adopt", "by-container", "by-instance", "--yes")
    with serving(session) as address:
        container = {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{address}/container",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": "Bearer abc",
        }
        instance = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": f"{address}/", "AWS_EC2_METADATA_DISABLED": "false"}
        for profile, extra in (("by-container", container), ("by-instance", instance)):
            done = shared.run(str(BIN / "keyturn"), "refresh", profile, extra=extra)
            assert done.returncode == 0, done.stderr
            assert signer_of_last_assume(shared) == session.key_id
            if managed:
                found = identity(shared, profile, extra)
                assert json.loads(found.stdout)["Arn"].endswith(f"assumed-role/Shared/keyturn-{profile}")
    for profile, why in (
        ("by-container", "are not set"),
        ("by-instance", "no instance metadata service answers"),
    ):
        none = shared.keyturn("refresh", profile)
        assert none.returncode == 1
        assert none.stderr.count("\n") == 1
        assert why in none.stderr
    if managed:
        shared.releases("--all")
