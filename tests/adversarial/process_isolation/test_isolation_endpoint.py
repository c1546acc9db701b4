"""The endpoint of an ordinary user's program is closed to every other user, and its process to everybody."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.adversarial.process_isolation.conftest import PASSPHRASE, Record
from tests.adversarial.process_isolation.ordinary import ALICE, Installation, User, become
from tests.adversarial.process_isolation.test_isolation_processes import attacked
from tests.core.delivery.endpoint.exec_program import PRINT_ENVIRON, Program, replies_to


@contextmanager
def sandbox(user: User) -> Iterator[Mapping[str, str]]:
    """Start a sandbox that belongs to `user` and return the environment that leads to it."""
    process = subprocess.Popen(
        [*become(user.uid), user.installation.python, "-I", "-m", "keyturn_sandbox", "--home", str(user.home / "aws")],
        env=user.environ, stdout=subprocess.PIPE, text=True, cwd="/",
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        told: dict[str, str] = {}
        while not (line := process.stdout.readline()).startswith("#"):
            assert line, "it did not start"
            name, _, value = line.strip().partition("=")
            told[name] = value
        yield told
        process.terminate()


@pytest.fixture(scope="module")
def owned(installation: Installation, ground: Path) -> Iterator[tuple[User, Program]]:
    """Return Alice with a program that has an endpoint."""
    alice = User(ALICE, installation, ground / "alice")
    with sandbox(alice) as told:
        alice.environ |= told
        for words in (("vault", "init", "--slot", "passphrase"), ("adopt", "ci-deploy", "--yes")):
            done = alice.keyturn(*words, fds={"--passphrase-fd": PASSPHRASE})
            assert done.returncode == 0, done.stderr
        process = subprocess.Popen(
            [*become(alice.uid), installation.keyturn, "exec", "ci-release", "--endpoint", "--", installation.python, "-c", PRINT_ENVIRON],
            env=alice.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/",
        )  # fmt: skip
        with process:
            assert process.stdout is not None
            yield alice, Program(process, json.loads(process.stdout.readline()))
            process.kill()
        alice.keyturn("agent", "stop")


def is_served(owned: tuple[User, Program]) -> bool:
    user, program = owned
    (answer,) = replies_to(program, *become(user.uid), user.installation.python, count=1)
    return "200 OK" in answer and "ASIA" in answer


@pytest.mark.parametrize("whose", ["the same user", "another user"])
def test_nobody_sees_into_the_endpoint(
    owned: tuple[User, Program], stranger: User, whose: str, record_property: Record
) -> None:
    user, program = owned
    attacker = user if whose == "the same user" else stranger
    tried, worked = attacked(attacker, program.server(), *(["kill"] if attacker is stranger else []))
    assert worked == set()
    assert is_served(owned)
    record_property(f"isolation: attempts denied, endpoint against {whose}", tried)


def test_the_endpoint_leaves_no_core(owned: tuple[User, Program]) -> None:
    limits = Path(f"/proc/{owned[1].server()}/limits").read_text()
    assert next(line.split()[4:6] for line in limits.splitlines() if "core" in line) == ["0", "0"]


@pytest.mark.parametrize("who", ["another user", "root"])
def test_its_right_request_gets_another_user_no_byte(
    owned: tuple[User, Program], stranger: User, who: str
) -> None:
    before = become(stranger.uid) if who == "another user" else []
    assert replies_to(owned[1], *before, stranger.installation.python, count=50) == [""] * 50
    assert is_served(owned)


def test_another_user_does_not_read_the_token(owned: tuple[User, Program], stranger: User) -> None:
    done = stranger.run("cat", str(owned[1].token_file))
    assert done.returncode != 0
    assert done.stdout == ""
    assert owned[0].run("cat", str(owned[1].token_file)).stdout == owned[1].token
