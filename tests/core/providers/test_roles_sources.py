"""`credential_source`: a role assumed with the caller's own credentials, never with another caller's
identity. Uses the real AWS CLI and boto3 with an agent up; the sampled cases run in one process."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from subprocess import CompletedProcess

import pytest

from keyturn.model.errors import AgentUnavailable, ProfileBroken
from keyturn.model.profile import Delivery
from keyturn.service import CredentialService
from keyturn_sandbox import Sandbox
from keyturn_sandbox.policy.principals import AccessKey
from tests.core.operations.conftest import Bench
from tests.core.providers.metadata_service import serve_credentials
from tests.end_to_end.person import BIN, Person

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


def set_up(sandbox: Sandbox) -> None:
    """Create roles by credential source, and the principals that may assume them."""
    state, path = sandbox.state, sandbox.home / ".aws" / "config"
    arn = f"arn:aws:iam::{ACCOUNT}:root"
    trust = [{"Effect": "Allow", "Principal": {"AWS": arn}, "Action": "sts:AssumeRole"}]
    roles = (f"arn:aws:iam::{ACCOUNT}:role/Shared", f"arn:aws:iam::{ACCOUNT}:role/Next")
    if state.role(roles[0]) is None:
        state.add_role(ACCOUNT, "Shared", trust, may_assume=roles[1:])
        state.add_role(ACCOUNT, "Next", trust)
        state.add_role(ACCOUNT, "Machine", trust, may_assume=roles[:1])
        path.write_text(path.read_text() + PROFILES)


@pytest.fixture
def shared(person: Person) -> Person:
    """A user at a shell with roles by credential source."""
    set_up(person.sandbox)
    return person


def user_key(sandbox: Sandbox, name: str) -> AccessKey:
    state = sandbox.state
    found = state.user("aws", ACCOUNT, name)
    user = found or state.add_user(ACCOUNT, name, may_assume=(f"arn:aws:iam::{ACCOUNT}:role/Shared",))
    return user.keys[0] if user.keys else state.add_key(user)


def key_environment(key: AccessKey) -> dict[str, str]:
    return {"AWS_ACCESS_KEY_ID": key.key_id, "AWS_SECRET_ACCESS_KEY": key.secret.reveal()}


def machine_variables(address: str) -> dict[str, dict[str, str]]:
    """Return the variables that lead a client to the machine's credentials, by profile."""
    return {
        "by-container": {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{address}/container",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": "Bearer abc",
        },
        "by-instance": {
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"{address}/",
            "AWS_EC2_METADATA_DISABLED": "false",
        },
    }


def identity(person: Person, profile: str, extra: dict[str, str]) -> CompletedProcess[str]:
    return person.run(
        str(BIN / "aws"), "sts", "get-caller-identity", "--profile", profile, "--output", "json", extra=extra
    )


def signer_of_last_assume(person: Person) -> str:
    return [call for call in person.sandbox.calls if call.action == "AssumeRole"][-1].key_id


@pytest.mark.campaign
@pytest.mark.timeout(300)
def test_the_environment_of_whoever_asks_signs_and_no_other(shared: Person) -> None:
    shared.does("adopt", "by-environment", "--yes")
    assert "credential_source" not in shared.config.read_text().partition("by-environment]")[2].split("[")[0]
    shared.does("vault", "unlock", fds={"--passphrase-fd": "correct horse battery staple"})
    first, other = user_key(shared.sandbox, "one"), user_key(shared.sandbox, "other")
    expected = f"arn:aws:sts::{ACCOUNT}:assumed-role/Shared/shared"
    for key in (first, other, first):
        done = identity(shared, "by-environment", key_environment(key))
        assert json.loads(done.stdout)["Arn"] == expected, done.stderr
        assert signer_of_last_assume(shared) == key.key_id
    boto = shared.run(
        sys.executable, "-c",
        "import boto3; "
        "print(boto3.Session(profile_name='next-hop').client('sts').get_caller_identity()['Arn'])",
        extra=key_environment(other),
    )  # fmt: skip
    assert boto.stdout.strip() == f"arn:aws:sts::{ACCOUNT}:assumed-role/Next/keyturn-next-hop", boto.stderr
    without = shared.keyturn("credential-process", "by-environment")
    assert without.returncode == 1
    assert without.stdout == ""
    assert without.stderr == (
        "keyturn: credential_source Environment of by-environment: AWS_ACCESS_KEY_ID is not set in the "
        "caller's "
        "environment. Export AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the calling shell\n"
    )
    partial = shared.run(
        str(BIN / "keyturn"),
        "credential-process",
        "by-environment",
        extra={"AWS_ACCESS_KEY_ID": first.key_id},
    )
    assert partial.returncode == 1
    assert partial.stderr.count("\n") == 1
    assert "AWS_SECRET_ACCESS_KEY" in partial.stderr
    assert shared.row("by-environment")["state"] == "none"
    refreshed = shared.run(str(BIN / "keyturn"), "refresh", "by-environment", extra=key_environment(first))
    assert refreshed.returncode == 0, refreshed.stderr
    assert "not cached" in refreshed.stdout
    assert shared.row("by-environment")["state"] == "none"
    assert shared.row("by-environment")["source"] == "Environment"
    shared.releases("--all")
    assert PROFILES in shared.config.read_text()


@pytest.mark.campaign
@pytest.mark.timeout(300)
def test_a_native_profile_takes_the_callers_environment_too(shared: Person) -> None:
    shared.does("vault", "unlock", fds={"--passphrase-fd": "correct horse battery staple"})
    for name in ("one", "other"):
        key = user_key(shared.sandbox, name)
        done = shared.run(
            str(BIN / "keyturn"), "refresh", "by-environment", "next-hop", extra=key_environment(key)
        )
        assert done.returncode == 0, done.stderr
        signers = [call.key_id for call in shared.sandbox.calls if call.action == "AssumeRole"]
        assert signers[-3:-1] == [key.key_id, key.key_id]


@pytest.mark.campaign
@pytest.mark.timeout(300)
@pytest.mark.parametrize("managed", [False, True])
def test_a_container_and_an_instance_sign_through_botocores_own_providers(
    shared: Person, managed: bool
) -> None:
    machine = shared.sandbox.state.role(f"arn:aws:iam::{ACCOUNT}:role/Machine")
    assert machine is not None
    session = shared.sandbox.state.add_session(machine, timedelta(hours=6), name="machine")
    if managed:
        shared.does("adopt", "by-container", "by-instance", "--yes")
    with serve_credentials(session) as address:
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
    for profile, reason in (
        ("by-container", "are not set"),
        ("by-instance", "the instance metadata service is not reachable"),
    ):
        none = shared.keyturn("refresh", profile)
        assert none.returncode == 1
        assert none.stderr.count("\n") == 1
        assert reason in none.stderr
    if managed:
        shared.releases("--all")


@pytest.fixture
def in_process(bench: Bench) -> Bench:
    """The same in one process."""
    set_up(bench.sandbox)
    return bench


@pytest.mark.parametrize("managed", [False, True])
def test_two_environments_never_share_a_session(
    in_process: Bench, monkeypatch: pytest.MonkeyPatch, managed: bool
) -> None:
    if managed:
        in_process.adopt("by-environment")
        assert in_process.service.context.read().definitions["next-hop"].source_profile == "by-environment"
    key_ids = []
    for name in ("one", "other", "one"):
        for variable, value in key_environment(user_key(in_process.sandbox, name)).items():
            monkeypatch.setenv(variable, value)
        in_process.sandbox.calls.clear()
        if managed:
            key_ids.append(json.loads(in_process.service.credential_process("next-hop"))["AccessKeyId"])
        else:
            key_ids.append(in_process.service.refresh("next-hop").session.key_id)
        assert in_process.sandbox.calls[0].key_id == user_key(in_process.sandbox, name).key_id
        assert in_process.calls("AssumeRole") == 2
        assert in_process.service.context.vault.session("by-environment") is None, "it is kept nowhere"
        assert in_process.service.context.vault.session("next-hop") is None, "nor is what rests on it"
    assert len(set(key_ids)) == 3
    for variable in key_environment(user_key(in_process.sandbox, "one")):
        monkeypatch.delenv(variable)
    with pytest.raises(ProfileBroken, match="AWS_ACCESS_KEY_ID is not set"):
        in_process.service.refresh("next-hop")
    assert "next-hop" not in in_process.service.due_profiles()


def test_a_process_that_serves_others_never_answers_with_its_own_environment(
    in_process: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_process.adopt("by-environment")
    for variable, value in key_environment(user_key(in_process.sandbox, "one")).items():
        monkeypatch.setenv(variable, value)
    agent = CredentialService.from_environ(in_process.sandbox.environ, use_agent=False, serves_others=True)
    agent.unlock_here(recovery_key=in_process.recovery_key)
    in_process.sandbox.calls.clear()
    for ask in (agent.credential_process, agent.refresh):
        for name in ("by-environment", "next-hop"):
            with pytest.raises(AgentUnavailable, match="uses the caller's credentials"):
                ask(name)
    with pytest.raises(AgentUnavailable, match="uses the caller's credentials"):
        agent.deliver("next-hop", Delivery.CREDENTIALS_FILE)
    assert in_process.calls("AssumeRole") == 0
    assert in_process.service.context.profile_state("by-environment").failure is None
    assert json.loads(in_process.service.credential_process("next-hop"))["SessionToken"]


@pytest.mark.parametrize("profile", ["by-container", "by-instance"])
def test_a_machine_signs_by_botocores_own_provider(
    in_process: Bench, monkeypatch: pytest.MonkeyPatch, profile: str
) -> None:
    in_process.adopt(profile)
    machine = in_process.sandbox.state.role(f"arn:aws:iam::{ACCOUNT}:role/Machine")
    assert machine is not None
    session = in_process.sandbox.state.add_session(machine, timedelta(hours=6), name="machine")
    with pytest.raises(ProfileBroken, match="credential_source"):
        in_process.service.credential_process(profile)
    with serve_credentials(session) as address:
        for variable, value in machine_variables(address)[profile].items():
            monkeypatch.setenv(variable, value)
        assert json.loads(in_process.service.credential_process(profile))["SessionToken"]
    (call,) = [call for call in in_process.sandbox.calls if call.action == "AssumeRole"]
    assert call.key_id == session.key_id
