"""AWS is reached as the caller's environment says, and a hostile `.envrc` gets nothing of others."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from keyturn.model.text import iso
from keyturn.storage.raw_paths import forward_path
from keyturn.system.caller_variables import NAMES
from tests.end_to_end.person import PASSPHRASE, Person
from tests.end_to_end.recording_aws import KEY_ID, RecordingAws, recording_aws, write_certificate

ADOPTED = ("ci-deploy", "ci-release", "acme-build", "acme-hub", "acme-spoke", "personal")


@pytest.fixture(scope="module")
def person(person: Person) -> Person:
    """A user with managed keys and roles, and an agent that the sandbox's own variables started."""
    _forget_machine(person)
    person.leaves()
    (person.sandbox.folder / "keyturn" / "config").mkdir(exist_ok=True)
    (person.sandbox.folder / "keyturn" / "config" / "config.toml").write_text('forward = ["ci-release"]\n')
    _unlock(person)
    person.does("adopt", *ADOPTED, "--yes")
    return person


@pytest.fixture
def hostile() -> Iterator[RecordingAws]:
    """An endpoint of an attacker."""
    with recording_aws() as aws:
        yield aws


def _forget_machine(person: Person) -> None:
    """Leave out what the machine of the tests says about proxies and CA bundles."""
    for name in set(NAMES) - {"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL_IAM"}:
        person.environ.pop(name, None)


def _unlock(person: Person, extra: Mapping[str, str] | None = None) -> None:
    done = person.keyturn("vault", "unlock", fds={"--passphrase-fd": PASSPHRASE}, extra=extra)
    assert done.returncode == 0, done.stderr


def _envrc(aws: RecordingAws) -> dict[str, str]:
    """Return the variables of a hostile `.envrc`."""
    return {"AWS_ENDPOINT_URL": aws.url, "AWS_ENDPOINT_URL_STS": aws.url, "AWS_ENDPOINT_URL_IAM": aws.url}


def _key_id(person: Person, name: str, extra: Mapping[str, str] | None = None) -> str:
    """Return the key id that an AWS client gets."""
    done = person.keyturn("credential-process", name, extra=extra)
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["AccessKeyId"])


def _exec_key_id(person: Person, name: str, extra: Mapping[str, str] | None = None) -> str:
    """Return the key id that a program gets."""
    done = person.keyturn("exec", name, "--", "sh", "-c", "echo $AWS_ACCESS_KEY_ID", extra=extra)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _error(done: subprocess.CompletedProcess[str], code: int = 1) -> str:
    """Return the one line of a failed command."""
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    assert done.stderr.startswith("keyturn: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


def _own_files(person: Person) -> bytes:
    """Return the content of all of keyturn's files and of the shared ones."""
    folders = (person.sandbox.folder / "keyturn", person.config.parent)
    files = (file for folder in folders for file in folder.rglob("*") if file.is_file())
    return b"\n".join(file.read_bytes() for file in files)


# -- what the caller says counts -----------------------------------------------------------------------------


def test_the_region_is_the_callers_and_not_that_of_the_agents_start(newcomer: Person) -> None:
    _forget_machine(newcomer)
    newcomer.config.write_text(
        newcomer.config.read_text().replace("[profile personal]\nregion = eu-north-1", "[profile personal]")
    )
    newcomer.makes_vault()
    newcomer.leaves()
    _unlock(newcomer, {"AWS_DEFAULT_REGION": "us-gov-west-1"})
    newcomer.does("adopt", "personal", "--yes")
    assert _exec_key_id(newcomer, "personal", {"AWS_DEFAULT_REGION": "us-east-1"}).startswith("ASIA")
    newcomer.does("stop", "personal")
    assert _key_id(newcomer, "personal", {"AWS_DEFAULT_REGION": "eu-west-1"}).startswith("ASIA")
    newcomer.does("stop", "personal")
    assert _key_id(newcomer, "personal").startswith("ASIA"), "a caller without a region"


def test_a_ca_bundle_that_is_set_after_the_agent_was_started_is_trusted(
    newcomer: Person, tmp_path: Path
) -> None:
    _forget_machine(newcomer)
    bundle = tmp_path / "ca.pem"
    write_certificate(bundle)
    with recording_aws(bundle) as aws:
        newcomer.makes_vault()
        newcomer.leaves()
        newcomer.environ["AWS_ENDPOINT_URL_STS"] = aws.url
        _unlock(newcomer)
        newcomer.does("adopt", "ci-deploy", "--yes")
        assert "not trusted" in _error(newcomer.keyturn("refresh", "ci-deploy"))
        for variable in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
            assert _exec_key_id(newcomer, "ci-deploy", {variable: str(bundle)}) == KEY_ID
        assert "not trusted" in _error(newcomer.keyturn("refresh", "ci-deploy")), "it is the caller's alone"


def test_an_endpoint_of_the_caller_is_asked(person: Person, hostile: RecordingAws) -> None:
    assert _exec_key_id(person, "ci-deploy", {"AWS_ENDPOINT_URL_STS": hostile.url}) == KEY_ID
    assert hostile.actions() == ["GetSessionToken"]
    done = person.keyturn("refresh", "ci-deploy", extra={"AWS_ENDPOINT_URL_STS": hostile.url})
    assert done.returncode == 0, done.stderr
    assert "AWS_ENDPOINT_URL_STS" in done.stdout
    assert hostile.actions() == ["GetSessionToken"] * 2


def test_its_session_is_cached_for_callers_with_the_same_endpoint(
    person: Person, hostile: RecordingAws
) -> None:
    for _ in range(3):
        assert _key_id(person, "acme-build", _envrc(hostile)) == KEY_ID
    assert hostile.actions() == ["GetSessionToken"]


# -- and a hostile caller gets nothing of others -------------------------------------------------------------


def test_a_hostile_endpoint_gets_no_cached_session_and_leaves_none_behind(
    person: Person, hostile: RecordingAws
) -> None:
    cached = {name: _key_id(person, name) for name in ("acme-hub", "acme-spoke")}
    before = person.row("acme-spoke")
    assert _key_id(person, "acme-spoke", _envrc(hostile)) == KEY_ID
    assert hostile.actions() == ["AssumeRole", "AssumeRole"]
    assert not any(key_id in request for key_id in cached.values() for request in hostile.requests)
    calls = len(person.sandbox.calls)
    assert {name: _key_id(person, name) for name in cached} == cached
    assert _exec_key_id(person, "acme-spoke") == cached["acme-spoke"]
    assert len(person.sandbox.calls) == calls, "the sessions of others are still cached"
    assert person.row("acme-spoke") == before
    assert KEY_ID.encode() not in _own_files(person)


def test_an_error_of_a_hostile_endpoint_is_no_failure_of_the_profile(person: Person) -> None:
    _key_id(person, "ci-deploy")
    refused = {"AWS_ENDPOINT_URL_STS": "http://127.0.0.1:1"}
    assert "127.0.0.1:1 refused" in _error(person.keyturn("refresh", "ci-deploy", extra=refused))
    assert person.row("ci-deploy")["problem"] is None
    assert "refused" not in person.does("show", "ci-deploy")


def test_its_session_is_never_written_to_a_shared_file(person: Person, hostile: RecordingAws) -> None:
    person.does("deliver", "ci-release", "--to", "credentials-file")
    before = person.files()
    for words in (("refresh", "ci-release"), ("deliver", "acme-hub", "--to", "credentials-file")):
        line = _error(person.keyturn(*words, extra={"AWS_ENDPOINT_URL_STS": hostile.url}), 5)
        assert "AWS_ENDPOINT_URL_STS of this shell differs" in line
        assert "keyturn agent stop" in line
    assert person.files() == before
    assert hostile.requests == []


def test_a_rotation_asks_no_endpoint_of_the_caller(person: Person, hostile: RecordingAws) -> None:
    line = _error(person.keyturn("rotate", "acme-build", "--yes", extra=_envrc(hostile)), 5)
    assert "which key is kept" in line
    assert hostile.requests == []


def test_an_id_token_is_not_sent_to_an_endpoint_of_the_caller(person: Person, hostile: RecordingAws) -> None:
    line = _error(person.keyturn("exec", "gh-actions", "--", "true", extra=_envrc(hostile)), 5)
    assert "id token" in line
    assert hostile.requests == []


def test_auto_renewal_asks_no_endpoint_of_a_caller(person: Person, hostile: RecordingAws) -> None:
    first = _key_id(person, "acme-hub")
    assert _key_id(person, "acme-hub", _envrc(hostile)) == KEY_ID
    asked = len(hostile.requests)
    person.sandbox.move_clock(50 * 60)
    deadline = time.monotonic() + 40
    while person.row("acme-hub")["key_id"] == first:
        assert time.monotonic() < deadline
        time.sleep(0.3)
    assert len(hostile.requests) == asked
    assert _key_id(person, "acme-hub") not in (first, KEY_ID)


def test_a_proxy_alone_changes_nothing(person: Person) -> None:
    own = _key_id(person, "ci-deploy")
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1", "NO_PROXY": ""}
    assert _key_id(person, "ci-deploy", nowhere) == own, "it is cached"
    line = _error(person.keyturn("refresh", "ci-deploy", extra=nowhere))
    assert "could not connect to proxy 127.0.0.1:1" in line, "it is the caller's when AWS is asked"
    person.does("refresh", "ci-deploy")


def test_a_foreign_process_runs_with_the_callers_whole_environment_and_is_not_stored(
    person: Person, tmp_path: Path
) -> None:
    expires = iso(datetime.now(UTC) + timedelta(hours=6))
    for folder in ("one", "two"):
        program = tmp_path / folder / "team-creds"
        program.parent.mkdir()
        document: dict[str, object] = {"Version": 1, "SecretAccessKey": "s" * 40, "SessionToken": "t"}
        document |= {"AccessKeyId": f"ASIA{folder.upper()}${{TEAM}}EXAMPLE", "Expiration": expires}
        text = json.dumps(document)
        program.write_text(f"#!/bin/sh\ncat <<END\n{text}\nEND\n")
        program.chmod(0o700)
    with person.config.open("a") as file:
        file.write("\n[profile helped]\ncredential_process = team-creds\nregion = eu-west-1\n")

    def key_id(folder: str, team: str) -> str:
        path = f"{tmp_path / folder}:{person.environ['PATH']}"
        return _exec_key_id(person, "helped", {"PATH": path, "TEAM": team})

    assert key_id("one", "RED") == "ASIAONEREDEXAMPLE"
    assert key_id("one", "BLUE") == "ASIAONEBLUEEXAMPLE"
    assert key_id("two", "RED") == "ASIATWOREDEXAMPLE"
    assert person.row("helped")["key_id"] is None
    assert b"REDEXAMPLE" not in _own_files(person)


def test_nothing_of_it_is_taken_over_the_forwarded_socket(person: Person, hostile: RecordingAws) -> None:
    person.does("stop", "ci-release")
    request = {"v": 1, "op": "credential-process", "profile": "ci-release"}
    for env in (
        _envrc(hostile),
        {"AWS_DEFAULT_REGION": "us-gov-west-1"},
        {"HTTPS_PROXY": "\x1b"},
        "no object",
    ):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(30)
            sock.connect(forward_path(person.environ))
            sock.sendall(json.dumps(request | {"env": env}).encode() + b"\n")
            answer = json.loads(sock.makefile().readline())
        assert answer["ok"], answer
        assert answer["result"]["AccessKeyId"] != KEY_ID
    assert hostile.requests == []


# -- hostile text --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
@pytest.mark.parametrize(
    ("kind", "why"),
    [("fifo", "not a regular file"), ("huge", "larger than 1 MiB"), ("absent", "No such file")],
)
def test_a_ca_bundle_is_a_small_regular_file(
    person: Person, tmp_path: Path, variable: str, kind: str, why: str
) -> None:
    path = tmp_path / "bundle.pem"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "huge":
        path.write_bytes(b"#" * (1 << 20) + b"\n")
    started = time.monotonic()
    line = _error(person.keyturn("exec", "ci-deploy", "--", "true", extra={variable: str(path)}))
    assert time.monotonic() - started < 5
    assert why in line
    assert str(path) in line
    _key_id(person, "ci-deploy")


def test_a_proxys_password_appears_nowhere(person: Person) -> None:
    password = "hunter2/Zebra@pw"
    for url in (
        f"http://jo:{password}@127.0.0.1:1",
        "http://jo:hunter2%2FZebra@127.0.0.1:1",
        f"jo:{password}@127.0.0.1:1",
        f"http://jo:{password}@[::1",
    ):
        extra = {"HTTP_PROXY": url, "HTTPS_PROXY": url, "http_proxy": url, "https_proxy": url, "NO_PROXY": ""}
        for words in (("refresh", "ci-deploy"), ("refresh", "acme-hub", "--json"), ("rotate", "acme-build")):
            done = person.keyturn(*words, extra=extra)
            assert done.returncode != 0
            assert "Zebra" not in done.stdout + done.stderr
            assert "hunter2" not in done.stdout + done.stderr
    shown = "".join(person.does(*words) for words in (("list",), ("show", "ci-deploy"), ("agent", "status")))
    assert "Zebra" not in shown
    assert "hunter2" not in shown
    files = _own_files(person)
    assert b"Zebra" not in files
    assert b"hunter2" not in files
    person.does("refresh", "ci-deploy")


@pytest.mark.parametrize(
    ("variable", "value", "why"),
    [
        ("AWS_DEFAULT_REGION", "\x1b]52;c;cHduZWQ=\x07", "control characters"),
        ("HTTPS_PROXY", "http://127.0.0.1\r\nX-Evil: 1", "control characters"),
        ("NO_PROXY", "x" * 20_000, "longer than"),
    ],
)
def test_a_hostile_value_is_one_line_of_plain_text(
    person: Person, variable: str, value: str, why: str
) -> None:
    for words in (("credential-process", "ci-deploy"), ("refresh", "ci-deploy")):
        line = _error(person.keyturn(*words, extra={variable: value}), 2)
        assert f"{variable} is invalid" in line
        assert why in line
        assert line.strip().isprintable()
    _key_id(person, "ci-deploy")
