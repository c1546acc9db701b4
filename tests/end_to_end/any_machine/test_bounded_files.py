"""Files of any length in any place that keyturn reads: one line, and a small agent."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from keyturn.model import file_limits
from keyturn.vault import age
from tests.end_to_end.person import KEYTURN, PASSPHRASE, Person

MIB = 1024 * 1024
AGENT_MIB = 150


@pytest.fixture(scope="module")
def managed(person: Person) -> Person:
    """A user who manages `ci-deploy`, with an agent."""
    person.does("adopt", "ci-deploy", "--yes")
    person.does("refresh", "ci-deploy")
    return person


def _agent_mib(person: Person) -> int:
    process = json.loads(person.does("agent", "status", "--json"))["pid"]
    status = Path(f"/proc/{process}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) // 1024


def _place(person: Person, name: str) -> Path:
    home = Path(person.environ["KEYTURN_HOME"])
    return {
        "config": person.config,
        "credentials": person.credentials,
        "profiles.toml": home / "config" / "profiles.toml",
        "config.toml": home / "config" / "config.toml",
        "index.json": home / "state" / "index.json",
    }[name]


@pytest.mark.parametrize("name", ["config", "credentials", "profiles.toml", "config.toml", "index.json"])
def test_a_file_of_200_mib_is_not_read(managed: Person, name: str) -> None:
    place = _place(managed, name)
    before = place.read_bytes() if place.exists() else None
    try:
        place.parent.mkdir(exist_ok=True)
        with place.open("r+b" if before is not None else "wb") as file:
            file.truncate(200 * MIB)  # a hole, which takes no room
        place.chmod(0o600)
        for words in (("refresh", "ci-deploy"), ("credential-process", "ci-deploy"), ("list",)):
            done = managed.keyturn(*words)
            assert done.stderr.count("\n") <= 2, done.stderr
            assert "Traceback" not in done.stderr
        assert _agent_mib(managed) < AGENT_MIB
    finally:
        if before is None:
            place.unlink(missing_ok=True)
        else:
            place.write_bytes(before)
    managed.does("refresh", "ci-deploy")


def test_a_config_file_of_too_many_sections_is_a_problem_of_the_file(managed: Person) -> None:
    before = managed.config.read_bytes()
    try:
        managed.config.write_bytes(before + b"".join(b"[%d]\n" % number for number in range(100_000)))
        listed = managed.keyturn("list")
        assert "it has more than 80000 lines" in listed.stderr + listed.stdout
        refused = managed.keyturn("set", "ci-deploy", "region=eu-west-3")
        assert refused.returncode == 5, refused.stderr
        assert refused.stderr.count("\n") == 1
        managed.keyturn("refresh", "ci-deploy")
        assert _agent_mib(managed) < AGENT_MIB
    finally:
        managed.config.write_bytes(before)


def _sections(prefix: bytes, share: int) -> bytes:
    """Return nearly a share of the sections, settings and bytes that the shared files may have."""
    number = (file_limits.MAX_SECTIONS - 200) // share
    text = b"".join(b"[%sx%d]\nregion = eu-west-1\noutput = json\n" % (prefix, at) for at in range(number))
    return text + b"# " + b"x" * (file_limits.MAX_SHARED_BYTES // share - len(text) - 10_000) + b"\n"


def _settings(prefix: bytes, share: int) -> bytes:
    """Return one section with nearly a share of the lines that the shared files may have."""
    number = (file_limits.MAX_SHARED_LINES - 1_000) // share
    return b"[%sx]\n" % prefix + b"".join(b"s%d = %d\n" % (at, at) for at in range(number))


@pytest.mark.parametrize("share", [1, 2])
@pytest.mark.parametrize("fill", [_sections, _settings])
def test_both_shared_files_at_their_limits_leave_the_agent_small(
    managed: Person, fill: Callable[[bytes, int], bytes], share: int
) -> None:
    before = {path: path.read_bytes() for path in (managed.config, managed.credentials)}
    try:
        managed.config.write_bytes(before[managed.config] + b"\n" + fill(b"profile ", share))
        managed.credentials.write_bytes(before[managed.credentials] + b"\n" + fill(b"", share))
        for _ in range(2):
            managed.does("refresh", "ci-deploy")
            managed.does("credential-process", "ci-deploy")
        managed.does("list")
        assert _agent_mib(managed) < AGENT_MIB
    finally:
        for path, content in before.items():
            path.write_bytes(content)


def test_a_cached_sign_in_of_200_mib_is_not_read(managed: Person) -> None:
    folder = managed.config.parent
    before = {
        path: path.read_bytes()
        for kind in ("sso", "login")
        for path in (folder / kind / "cache").glob("*.json")
    }
    assert len(before) > 1
    try:
        for path in before:
            with path.open("r+b") as file:
                file.truncate(200 * MIB)
        for name in ("acme-dev-readonly", "globex-viewer", "console-jo"):
            done = managed.keyturn("refresh", name)
            assert done.returncode != 0
            assert done.stderr.count("\n") == 1, done.stderr
        assert _agent_mib(managed) < AGENT_MIB
    finally:
        for path, content in before.items():
            path.write_bytes(content)


def test_a_device_in_place_of_a_shared_file_is_not_read_without_an_agent(newcomer: Person) -> None:
    newcomer.makes_vault()
    newcomer.does("adopt", "ci-deploy", "--yes")
    newcomer.leaves()
    words = ("sh", "-c", 'ulimit -v 2000000; exec "$@"', "sh", KEYTURN, "credential-process", "ci-deploy")
    for variable in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        done = newcomer.run(*words, extra={variable: "/dev/zero"})
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (4, "", 1), done.stderr
        assert "Vault is locked" in done.stderr


@pytest.mark.parametrize("content", ["long texts", "many values"])
def test_keys_that_somebody_else_sealed_leave_the_agent_small(newcomer: Person, content: str) -> None:
    newcomer.makes_vault()
    newcomer.does("adopt", "ci-deploy", "--yes")
    vault = Path(newcomer.environ["KEYTURN_HOME"]) / "data" / "vault"
    recipient = (vault / "recipient.txt").read_text().split()[-1]
    entries = {f"key/{number}": {"secret": "s" * MIB} for number in range(40)}
    plain = {
        "long texts": json.dumps({"version": 1, "kind": "keys", "generation": 9, "entries": entries}),
        "many values": '{"version":1,"kind":"keys","generation":9,"entries":{"a":{"b":['
        + "[],{}," * MIB
        + "1]}}}",
    }[content]
    for name in ("keys.age", "sessions.age"):
        text = plain.replace('"keys"', '"sessions"') if name == "sessions.age" else plain
        (vault / name).write_bytes(age.seal(text.encode(), recipient))
        (vault / name).chmod(0o600)
    for words in (("refresh", "ci-deploy"), ("credential-process", "ci-deploy")):
        done = newcomer.keyturn(*words)
        assert done.returncode != 0
        assert done.stderr.count("\n") == 1, done.stderr
    assert _agent_mib(newcomer) < AGENT_MIB
    restored = newcomer.keyturn("vault", "restore", fds={"--passphrase-fd": PASSPHRASE})
    assert restored.returncode == 0, restored.stderr
