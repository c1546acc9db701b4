"""Another program writes back old contents after keyturn has stopped watching: the list reports it, and its
advice helps. Files that a killed writer left beside the shared files are gone after the next start."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keyturn.agent import shutdown
from keyturn.awsconfig.document import FileKind, parse
from keyturn.model.profile import Delivery
from keyturn.system import temp_files
from tests.resilience.concurrency.conftest import Machine
from tests.support.campaign import campaign

KEYTURN = str(Path(sys.executable).with_name("keyturn"))


@pytest.fixture
def person(machine: Machine) -> Iterator[Machine]:
    """Return a sandbox with `ci-deploy` managed, whose agent is stopped afterwards."""
    machine.service.adopt(machine.service.plan_adopt(["ci-deploy"]))
    yield machine
    shutdown.lock(machine.service.paths.socket)


def keyturn(machine: Machine, *arguments: str) -> str:
    result = subprocess.run(
        [KEYTURN, *arguments],
        check=False,
        input="three small words\n",
        capture_output=True,
        text=True,
        env=machine.environ,
        timeout=100,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def reported_problem(machine: Machine, name: str) -> str | None:
    """Return the problem that `keyturn list` reports for a profile, which it must show as broken."""
    rows = json.loads(keyturn(machine, "list", "--json"))["profiles"]
    entries = next(row for row in rows if row["name"] == name)
    assert (entries["state"] == "broken") == (entries["problem"] is not None)
    reports = entries["problem"]
    assert reports is None or isinstance(reports, str)
    return reports


def follow_advice(machine: Machine, reports: str | None) -> None:
    """Run the command that a problem advises, as it is printed."""
    assert reports is not None
    match = re.search(r"run: keyturn ([^,]*)", reports)
    assert match is not None, reports
    confirmed = ["--yes"] if match[1].startswith("release") else []
    keyturn(machine, *match[1].split(), "--passphrase-fd", "0", *confirmed)


def credentials(machine: Machine, name: str) -> dict[str, str]:
    section = parse((machine.aws / "credentials").read_bytes(), kind=FileKind.CREDENTIALS).section(name)
    return {} if section is None else {item.key: item.value for item in section.items}


def gone(_: bytes, __: bytes) -> bytes:
    return b"[other]\nregion = eu-west-1\n"


def earlier(first: bytes, _: bytes) -> bytes:
    return first


@pytest.mark.parametrize("theirs", [*campaign(gone), earlier])
def test_a_session_that_somebody_overwrote_is_told_and_delivered_again(
    person: Machine, theirs: Callable[[bytes, bytes], bytes]
) -> None:
    path = person.aws / "credentials"
    person.service.deliver("ci-deploy", Delivery.CREDENTIALS_FILE)
    first = path.read_bytes()
    person.service.refresh("ci-deploy")
    assert reported_problem(person, "ci-deploy") is None
    path.write_bytes(theirs(first, path.read_bytes()))
    reports = reported_problem(person, "ci-deploy")
    assert reports is not None
    assert "another program removed its session from [ci-deploy] of the credentials file" in reports
    follow_advice(person, reports)
    assert reported_problem(person, "ci-deploy") is None
    assert credentials(person, "ci-deploy")["aws_access_key_id"].startswith("ASIA")
    assert path.read_bytes() != first


def test_an_earlier_session_that_somebody_wrote_back_goes_with_stop(person: Machine) -> None:
    path = person.aws / "credentials"
    person.service.deliver("ci-deploy", Delivery.CREDENTIALS_FILE)
    first = path.read_bytes()
    person.service.refresh("ci-deploy")
    path.write_bytes(first)
    person.service.stop("ci-deploy")
    assert "aws_session_token" not in credentials(person, "ci-deploy")


def test_a_line_that_somebody_overwrote_is_told_and_put_there_again(person: Machine) -> None:
    path = person.aws / "config"
    whole = path.read_bytes()
    lines = [line for line in whole.splitlines(keepends=True) if b"credential-process ci-deploy" not in line]
    path.write_bytes(b"".join(lines))
    reports = reported_problem(person, "ci-deploy")
    assert reports is not None
    assert "its credential_process line is missing from the config file" in reports
    follow_advice(person, reports)
    assert reported_problem(person, "ci-deploy") is None


def test_a_role_that_somebody_wrote_back_is_told_with_the_way_out(machine: Machine) -> None:
    path = machine.aws / "config"
    before = path.read_bytes()
    machine.service.adopt(machine.service.plan_adopt(["ci-deploy"]))
    assert machine.service.context.read().definitions.keys() >= {"ci-release"}
    try:
        path.write_bytes(before)
        reports = reported_problem(machine, "ci-release")
        assert reports is not None
        assert "define it as role again" in reports
        assert f"{path}, line " in reports
        follow_advice(machine, reports)
        follow_advice(machine, reported_problem(machine, "ci-deploy"))
        assert reported_problem(machine, "ci-release") is None
        assert "ci-release" not in machine.service.context.read().definitions
    finally:
        shutdown.lock(machine.service.paths.socket)


#: Killed as soon as the names are exchanged: the old file with plaintext keys has the temporary name.
_KILLED = """
import os, signal, sys
from pathlib import Path
from keyturn.system import files as replace
from keyturn.awsconfig.document import FileKind, set_items
from keyturn.awsconfig.writer import SharedFiles

real = replace.exchange

def exchange(first, second):
    print(real(first, second), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

replace.exchange = exchange
files = SharedFiles(Path(sys.argv[1]), keep=lambda *_: None)
change = lambda doc: set_items(doc, "late", {"region": "eu-west-1"})
files.edit(Path(sys.argv[2]), change, kind=FileKind.CREDENTIALS)
"""


def test_keys_in_clear_that_a_killed_writer_left_are_gone_after_the_next_start(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = machine.aws / "credentials"
    old = path.read_bytes()
    command = [sys.executable, "-c", _KILLED, str(machine.service.paths.locks_dir), str(path)]
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert result.returncode == -signal.SIGKILL, result.stderr
    assert b"[late]" in path.read_bytes()
    left = list(machine.aws.glob(".keyturn-*.tmp"))
    if result.stdout == "True\n":
        assert [one.read_bytes() for one in left] == [old]
    monkeypatch.setattr(temp_files, "MIN_AGE_SECONDS", -1.0)  # the change time of a file cannot be set
    machine.service.withdraw_expired()
    assert list(machine.aws.glob(".keyturn-*")) == []
    assert b"[late]" in path.read_bytes()
