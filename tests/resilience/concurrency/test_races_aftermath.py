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
from tests.resilience.concurrency.conftest import House

KEYTURN = str(Path(sys.executable).with_name("keyturn"))


@pytest.fixture
def person(house: House) -> Iterator[House]:
    """Return a sandbox with `ci-deploy` managed, whose agent is stopped afterwards."""
    house.service.adopt(house.service.plan_adopt(["ci-deploy"]))
    yield house
    shutdown.lock(house.service.paths.socket)


def keyturn(house: House, *arguments: str) -> str:
    done = subprocess.run(
        [KEYTURN, *arguments],
        check=False,
        input="three small words\n",
        capture_output=True,
        text=True,
        env=house.environ,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def problem(house: House, name: str) -> str | None:
    """Return the problem that `keyturn list` reports for a profile, which it must show as broken."""
    rows = json.loads(keyturn(house, "list", "--json"))["profiles"]
    found = next(row for row in rows if row["name"] == name)
    assert (found["state"] == "broken") == (found["problem"] is not None)
    said = found["problem"]
    assert said is None or isinstance(said, str)
    return said


def help_oneself(house: House, said: str | None) -> None:
    """Run the command that a problem advises, as it is printed."""
    assert said is not None
    match = re.search(r"run: keyturn ([^,]*)", said)
    assert match is not None, said
    confirmed = ["--yes"] if match[1].startswith("release") else []
    keyturn(house, *match[1].split(), "--passphrase-fd", "0", *confirmed)


def credentials(house: House, name: str) -> dict[str, str]:
    section = parse((house.aws / "credentials").read_bytes(), kind=FileKind.CREDENTIALS).section(name)
    return {} if section is None else {item.key: item.value for item in section.items}


def gone(_: bytes, __: bytes) -> bytes:
    return b"[other]\nregion = eu-west-1\n"


def earlier(first: bytes, _: bytes) -> bytes:
    return first


@pytest.mark.parametrize("theirs", [gone, earlier])
def test_a_session_that_somebody_overwrote_is_told_and_delivered_again(
    person: House, theirs: Callable[[bytes, bytes], bytes]
) -> None:
    path = person.aws / "credentials"
    person.service.deliver("ci-deploy", Delivery.CREDENTIALS_FILE)
    first = path.read_bytes()
    person.service.refresh("ci-deploy")
    assert problem(person, "ci-deploy") is None
    path.write_bytes(theirs(first, path.read_bytes()))
    said = problem(person, "ci-deploy")
    assert said is not None
    assert "another program removed its session from [ci-deploy] of the credentials file" in said
    help_oneself(person, said)
    assert problem(person, "ci-deploy") is None
    assert credentials(person, "ci-deploy")["aws_access_key_id"].startswith("ASIA")
    assert path.read_bytes() != first


def test_an_earlier_session_that_somebody_wrote_back_goes_with_stop(person: House) -> None:
    path = person.aws / "credentials"
    person.service.deliver("ci-deploy", Delivery.CREDENTIALS_FILE)
    first = path.read_bytes()
    person.service.refresh("ci-deploy")
    path.write_bytes(first)
    person.service.stop("ci-deploy")
    assert "aws_session_token" not in credentials(person, "ci-deploy")


def test_a_line_that_somebody_overwrote_is_told_and_put_there_again(person: House) -> None:
    path = person.aws / "config"
    whole = path.read_bytes()
    lines = [line for line in whole.splitlines(keepends=True) if b"credential-process ci-deploy" not in line]
    path.write_bytes(b"".join(lines))
    said = problem(person, "ci-deploy")
    assert said is not None
    assert "its credential_process line is missing from the config file" in said
    help_oneself(person, said)
    assert problem(person, "ci-deploy") is None


def test_a_role_that_somebody_wrote_back_is_told_with_the_way_out(house: House) -> None:
    path = house.aws / "config"
    before = path.read_bytes()
    house.service.adopt(house.service.plan_adopt(["ci-deploy"]))
    assert house.service.context.read().definitions.keys() >= {"ci-release"}
    try:
        path.write_bytes(before)
        said = problem(house, "ci-release")
        assert said is not None
        assert "define it as role again" in said
        assert f"{path}, line " in said
        help_oneself(house, said)
        help_oneself(house, problem(house, "ci-deploy"))
        assert problem(house, "ci-release") is None
        assert "ci-release" not in house.service.context.read().definitions
    finally:
        shutdown.lock(house.service.paths.socket)


#: Killed as soon as the names are exchanged: the old file with plaintext keys has the temporary name.
_KILLED = """
import os, signal, sys
from pathlib import Path
from keyturn.awsconfig import atomic_replace as replace
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
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = house.aws / "credentials"
    old = path.read_bytes()
    command = [sys.executable, "-c", _KILLED, str(house.service.paths.locks_dir), str(path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert b"[late]" in path.read_bytes()
    left = list(house.aws.glob(".keyturn-*.tmp"))
    if done.stdout == "True\n":
        assert [one.read_bytes() for one in left] == [old]
    monkeypatch.setattr(temp_files, "MIN_AGE_SECONDS", -1.0)  # the change time of a file cannot be set
    house.service.withdraw_expired()
    assert list(house.aws.glob(".keyturn-*")) == []
    assert b"[late]" in path.read_bytes()
