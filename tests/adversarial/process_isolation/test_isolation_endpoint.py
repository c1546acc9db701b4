"""The endpoint of an ordinary user's program is closed to every other user, and its process to everybody."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.adversarial.process_isolation.conftest import PASSPHRASE, Record
from tests.adversarial.process_isolation.ordinary import ALICE, Installation, User, run_as
from tests.adversarial.process_isolation.test_isolation_processes import run_attacks
from tests.core.delivery.endpoint.exec_program import PRINT_ENVIRON, Program, replies_to


@contextmanager
def sandbox(user: User) -> Iterator[Mapping[str, str]]:
    """Start a sandbox that belongs to `user` and return the environment that leads to it."""
    process = subprocess.Popen(
        [*run_as(user.uid), user.installation.python, "-I", "-m", "keyturn_sandbox", "--home",
        str(user.home / "aws")],
        env=user.environ, stdout=subprocess.PIPE, text=True, cwd="/",
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        environ: dict[str, str] = {}
        while not (line := process.stdout.readline()).startswith("#"):
            assert line, "it did not start"
            name, _, value = line.strip().partition("=")
            environ[name] = value
        yield environ
        process.terminate()


@pytest.fixture(scope="module")
def endpoint_owner(installation: Installation, shared_folder: Path) -> Iterator[tuple[User, Program]]:
    """Return Alice with a program that has an endpoint."""
    alice = User(ALICE, installation, shared_folder / "alice")
    with sandbox(alice) as sandbox_environ:
        alice.environ |= sandbox_environ
        for words in (("vault", "init", "--slot", "passphrase"), ("adopt", "ci-deploy", "--yes")):
            result = alice.keyturn(*words, fds={"--passphrase-fd": PASSPHRASE})
            assert result.returncode == 0, result.stderr
        process = subprocess.Popen(
            [*run_as(alice.uid), installation.keyturn, "exec", "ci-release", "--endpoint", "--",
            installation.python, "-c", PRINT_ENVIRON],
            env=alice.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/",
        )  # fmt: skip
        with process:
            assert process.stdout is not None
            yield alice, Program(process, json.loads(process.stdout.readline()))
            process.kill()
        alice.keyturn("agent", "stop")


def is_served(endpoint_owner: tuple[User, Program]) -> bool:
    user, program = endpoint_owner
    (answer,) = replies_to(program, *run_as(user.uid), user.installation.python, count=1)
    return "200 OK" in answer and "ASIA" in answer


@pytest.mark.parametrize("whose", ["the same user", "another user"])
def test_nobody_sees_into_the_endpoint(
    endpoint_owner: tuple[User, Program], other_user: User, whose: str, record_property: Record
) -> None:
    user, program = endpoint_owner
    attacker = user if whose == "the same user" else other_user
    attempts, worked = run_attacks(attacker, program.server(), *(["kill"] if attacker is other_user else []))
    assert worked == set()
    assert is_served(endpoint_owner)
    record_property(f"isolation: attempts denied, endpoint against {whose}", attempts)


def test_the_endpoint_leaves_no_core(endpoint_owner: tuple[User, Program]) -> None:
    limits = Path(f"/proc/{endpoint_owner[1].server()}/limits").read_text()
    assert next(line.split()[4:6] for line in limits.splitlines() if "core" in line) == ["0", "0"]


@pytest.mark.parametrize("who", ["another user", "root"])
def test_its_right_request_gets_another_user_no_byte(
    endpoint_owner: tuple[User, Program], other_user: User, who: str
) -> None:
    before = run_as(other_user.uid) if who == "another user" else []
    assert replies_to(endpoint_owner[1], *before, other_user.installation.python, count=50) == [""] * 50
    assert is_served(endpoint_owner)


def test_another_user_does_not_read_the_token(endpoint_owner: tuple[User, Program], other_user: User) -> None:
    result = other_user.run("cat", str(endpoint_owner[1].token_file))
    assert result.returncode != 0
    assert result.stdout == ""
    assert endpoint_owner[0].run("cat", str(endpoint_owner[1].token_file)).stdout == endpoint_owner[1].token
