"""Requests that may be forwarded, and all others, which are refused."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from keyturn.agent import install
from keyturn.model.errors import ChangeRefused, KeyturnError, NeedsInteraction, NotFound, UsageError
from tests.core.operations.conftest import Bench, bench, writer_timing
from tests.core.providers.test_roles_mfa_command import choose, sandbox_command
from tests.core.providers.test_roles_sources import set_up

__all__ = ["bench", "writer_timing"]


@pytest.fixture
def local(bench: Bench) -> Bench:
    bench.adopt("ci-deploy", "acme-alice")
    return bench


def set_forwarded(bench: Bench, *names: str) -> None:
    choose(bench.service.paths.config_dir, f"forward = {json.dumps(names)}\n")


def test_only_what_is_named_and_from_the_moment_it_is(local: Bench) -> None:
    with pytest.raises(NotFound) as unnamed:
        local.service.get_forwarded_credentials("ci-release")
    with pytest.raises(NotFound) as unknown:
        local.service.get_forwarded_credentials("nothing-like-it")
    assert unnamed.value.why == unknown.value.why, "the far end does not learn which profiles there are"
    set_forwarded(local, "ci-release")
    assert json.loads(local.service.get_forwarded_credentials("ci-release"))["SessionToken"]
    assert json.loads(local.service.get_forwarded_credentials("ci-release", 1800))["Expiration"]
    set_forwarded(local, "ci-audit")
    with pytest.raises(NotFound):
        local.service.get_forwarded_credentials("ci-release")


def test_never_a_long_term_key(local: Bench) -> None:
    set_forwarded(local, "ci-deploy", "personal", "gov-ops")
    assert json.loads(local.service.get_forwarded_credentials("ci-deploy"))["SessionToken"]
    local.service.set("ci-deploy", {"session": "none"})
    with pytest.raises(ChangeRefused, match="its long-term key, which must not leave"):
        local.service.get_forwarded_credentials("ci-deploy")
    for native in ("personal", "gov-ops"):
        with pytest.raises(KeyturnError):
            local.service.get_forwarded_credentials(native)


def test_never_the_machines_own_credentials(local: Bench) -> None:
    set_up(local.sandbox)
    set_forwarded(local, "by-environment", "next-hop")
    for name in ("by-environment", "next-hop"):
        with pytest.raises(ChangeRefused, match="the caller's credentials, which must not leave"):
            local.service.get_forwarded_credentials(name)


def test_the_remote_host_is_told_where_a_person_is_needed_and_asked_for_nothing(local: Bench) -> None:
    set_forwarded(local, "prod-admin")
    with pytest.raises(
        NeedsInteraction, match=r"On the machine that forwards it, run: keyturn refresh prod-admin"
    ) as excinfo:
        local.service.get_forwarded_credentials("prod-admin")
    assert type(excinfo.value) is NeedsInteraction, "a code would be asked for at the far end"
    local.service.refresh("prod-admin", local.sandbox.totp("alice"))
    assert json.loads(local.service.get_forwarded_credentials("prod-admin"))["SessionToken"]


def test_nothing_while_the_preferences_cannot_be_believed(local: Bench) -> None:
    set_forwarded(local, "ci-release")
    file = local.service.paths.config_file
    file.chmod(0o666)
    with pytest.raises(ChangeRefused, match=r"config\.toml of the forwarding machine is invalid"):
        local.service.get_forwarded_credentials("ci-release")
    file.chmod(0o600)
    file.write_text("forward = 'ci-release'\n")
    with pytest.raises(ChangeRefused, match=r"config\.toml of the forwarding machine is invalid"):
        local.service.get_forwarded_credentials("ci-release")


def test_nothing_expired_and_nothing_shorter_than_asked(local: Bench) -> None:
    set_forwarded(local, "ci-release")
    local.service.get_forwarded_credentials("ci-release")
    local.sandbox.move_clock(50 * 60)
    expires = json.loads(local.service.get_forwarded_credentials("ci-release"))["Expiration"]
    assert expires > (local.service.now() + timedelta(minutes=40)).strftime("%Y-%m-%dT%H:%M:%SZ")
    with pytest.raises(UsageError):
        local.service.get_forwarded_credentials("ci-release", 30 * 3600)


@pytest.mark.parametrize("host", ["", "-oProxyCommand=x", "a b", "a\nHost b", 'a"b', "a\x1b[0m", "#x"])
def test_a_host_that_is_none_is_not_written(host: str) -> None:
    with pytest.raises(UsageError):
        install.lines(host, "/near", "/far", ())


@pytest.mark.parametrize("path", ["relative", '/a"b', "/a\nb", "/a\\b", "/a\x1bb"])
def test_a_path_that_cannot_stand_there_is_not_written(path: str) -> None:
    with pytest.raises(UsageError):
        install.lines("host", path, "/far", ())
    with pytest.raises(UsageError):
        install.lines("host", "/near", path, ())


def test_a_socket_in_whose_path_ssh_would_put_a_variable_is_not_written() -> None:
    with pytest.raises(UsageError):
        install.lines("host", "/near/${HOME}/x", "/far", ())


def test_a_profiles_name_cannot_write_a_line_of_its_own() -> None:
    printed = install.lines("host", "/near", "/far", ("a\nProxyCommand evil", "b"))
    assert [line for line in printed.splitlines() if not line.startswith("#")] == [
        "Host host",
        '    RemoteForward "/far" "/near"',
    ]


def test_the_remote_host_runs_no_program_and_uses_up_no_code(local: Bench) -> None:
    command = sandbox_command(local.sandbox.folder)
    choose(local.service.paths.config_dir, f'forward = ["prod-admin", "acme-alice"]\n{command}')
    for name in ("prod-admin", "acme-alice"):
        with pytest.raises(NeedsInteraction):
            local.service.get_forwarded_credentials(name)
    assert local.calls("AssumeRole") + local.calls("GetSessionToken") == 0
    assert json.loads(local.service.credential_process("prod-admin"))["SessionToken"]


def test_the_remote_host_cannot_have_aws_asked_again_and_again(local: Bench) -> None:
    set_forwarded(local, "ci-release")
    local.service.get_forwarded_credentials("ci-release")
    calls = local.calls("AssumeRole")
    for least in (129_600, 3600):
        for _ in range(3):
            with pytest.raises(UsageError):
                local.service.get_forwarded_credentials("ci-release", least)
    assert local.calls("AssumeRole") == calls
    local.sandbox.move_clock(15 * 60)
    for _ in range(5):
        local.service.get_forwarded_credentials("ci-release", 3000)
    assert local.calls("AssumeRole") == calls + 1
