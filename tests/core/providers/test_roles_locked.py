"""A locked vault with a non-interactive client: one line at once, as the full path prints it, and only where
that would say so too."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from keyturn.agent.fast_lock_check import is_locked
from keyturn.model.errors import NeedsUnlock
from keyturn.model.profile import Delivery
from keyturn.service import CredentialService
from keyturn.storage.paths import paths_for
from tests.core.agent.test_agent_fastpath import NOT_IMPORTED, run
from tests.core.operations.conftest import Bench


@pytest.fixture
def locked_bench(bench: Bench) -> Bench:
    """A managed user and its roles, one of them used, and the vault locked."""
    bench.adopt("ci-deploy", "acme-alice")
    bench.service.credential_process("ci-release")
    bench.service.lock()
    return bench


def test_it_is_the_line_of_the_long_way_and_little_is_imported(locked_bench: Bench) -> None:
    service = CredentialService.from_environ(locked_bench.sandbox.environ)
    with pytest.raises(NeedsUnlock) as long_way:
        service.credential_process("ci-release")
    done = run(
        {**locked_bench.sandbox.environ, "PATH": os.environ["PATH"]}, "credential-process", "ci-release"
    )
    line, modules = done.stderr.decode().rstrip().rsplit("\n", 1)
    assert (done.returncode, done.stdout) == (long_way.value.exit_code, b"")
    assert line.strip() == f"keyturn: {long_way.value.line()}"
    assert not NOT_IMPORTED & set(modules.split())


def test_it_is_so_for_each_managed_profile_and_for_no_other_name(locked_bench: Bench) -> None:
    environ = locked_bench.sandbox.environ
    for profile in ("ci-deploy", "ci-release", "ci-audit", "acme-alice", "prod-admin"):
        assert is_locked(environ, profile)
        with pytest.raises(NeedsUnlock):
            CredentialService.from_environ(environ).credential_process(profile)
    odd = ("", "nobody", "personal", "ci-deploy]\n[profiles.x", "é", "a b", "ci-release\n", ".*")
    assert not [name for name in odd if is_locked(environ, name)]


@pytest.mark.parametrize("variable", ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"])
def test_a_file_that_is_none_or_has_no_end_is_not_read(
    locked_bench: Bench, variable: str, tmp_path: Path
) -> None:
    endless = tmp_path / "long"
    with endless.open("wb") as file:
        file.truncate(1 << 40)  # a hole, which takes no room
    for path in ("/dev/zero", str(endless)):
        assert is_locked({**locked_bench.sandbox.environ, variable: path}, "ci-release")


def _write(path: Path, old: bytes, new: bytes) -> None:
    path.write_bytes(path.read_bytes().replace(old, new))


CORRUPTIONS: dict[str, Callable[[Bench], object]] = {
    "the keyring may open it": lambda bench: _write(
        bench.service.paths.vault_dir / "recipient.txt", b"# slots passphrase", b"# slots keyring passphrase"
    ),
    "no vault": lambda bench: bench.service.paths.vault_dir.rename(bench.sandbox.home / "away"),
    "half a vault": lambda bench: (bench.service.paths.vault_dir / "identity.age").unlink(),
    "keys that are none": lambda bench: (bench.service.paths.vault_dir / "keys.age").write_bytes(b"x" * 200),
    "an identity that is none": lambda bench: (bench.service.paths.vault_dir / "identity.age").write_bytes(
        b"x" * 200
    ),
    "a label that somebody changed": lambda bench: _write(
        bench.service.paths.vault_dir / "recipient.txt", b"# id ", b"# id 0"
    ),
    "another format": lambda bench: _write(
        bench.service.paths.vault_dir / "recipient.txt", b"format 1\n", b"format 2\n"
    ),
    "definitions of another version": lambda bench: _write(
        bench.service.paths.profiles_file, b"version = 1\n", b"version = 2\n"
    ),
    "no definitions": lambda bench: bench.service.paths.profiles_file.unlink(),
    "no index": lambda bench: bench.service.paths.index_file.unlink(),
    "what a killed process left": lambda bench: (
        bench.service.paths.state_dir / ".index.json.1.0a.tmp"
    ).touch(),
    "what a killed writer left": lambda bench: bench.config.with_name(".config.1.tmp").touch(),
    "an index that is too long": lambda bench: os.truncate(bench.service.paths.index_file, 5 << 20),
    "a delivery that was never noted": lambda bench: _write(
        bench.service.paths.profiles_file,
        b'delivery = "credential-process"',
        b'delivery = "credentials-file"',
    ),
    "the asker's own credentials": lambda bench: bench.config.write_text(
        f"{bench.config.read_text()}\n[profile machine]\nrole_arn = x\nCREDENTIAL_SOURCE = Environment\n"
    ),
}


def test_what_is_not_plain_to_see_goes_the_long_way(locked_bench: Bench) -> None:
    folder = locked_bench.sandbox.folder
    whole = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for case, spoil in CORRUPTIONS.items():
        assert is_locked(locked_bench.sandbox.environ, "ci-release"), f"before: {case}"
        spoil(locked_bench)
        assert not is_locked(locked_bench.sandbox.environ, "ci-release"), case
        away = locked_bench.sandbox.home / "away"
        if away.exists():
            away.rename(locked_bench.service.paths.vault_dir)
        for path in folder.rglob("*"):
            if path.is_file() and path not in whole:
                path.unlink()
        for path, data in whole.items():
            path.write_bytes(data)


def test_a_broken_vault_is_called_broken(locked_bench: Bench) -> None:
    CORRUPTIONS["keys that are none"](locked_bench)
    environ = {**locked_bench.sandbox.environ, "PATH": os.environ["PATH"]}
    done = run(environ, "credential-process", "ci-release")
    assert done.returncode == 1
    assert done.stderr.startswith(b"keyturn: Vault is unreadable.")


def test_a_start_that_owes_something_goes_the_long_way(bench: Bench) -> None:
    bench.adopt("ci-deploy")
    bench.service.deliver("ci-release", Delivery.CREDENTIALS_FILE)
    bench.service.lock()
    assert bench.section("ci-release")
    assert not is_locked(bench.sandbox.environ, "ci-release")
    bench.sandbox.move_clock(2 * 3600)
    run({**bench.sandbox.environ, "PATH": os.environ["PATH"]}, "credential-process", "ci-release")
    assert not bench.section("ci-release")


@pytest.mark.parametrize(
    "environ",
    [
        {"HOME": "/home/jo"},
        {"HOME": "/home/jo", "KEYTURN_HOME": "~/k"},
        {"HOME": "/home/jo", "XDG_CONFIG_HOME": "/c", "XDG_DATA_HOME": "/d", "XDG_STATE_HOME": "/s"},
        {"HOME": "/home/jo", "XDG_CONFIG_HOME": "relative"},
        {"HOME": "/home/jo", "AWS_CONFIG_FILE": "/x/config", "AWS_SHARED_CREDENTIALS_FILE": "/x/y"},
    ],
)
def test_it_looks_where_everybody_else_does(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    lookups: list[str] = []

    def look(path: str) -> bytes:
        lookups.append(path)
        return b""

    monkeypatch.setattr("keyturn.agent.fast_lock_check._read", look)
    is_locked(environ, "x")
    places = paths_for(environ)
    assert set(map(Path, lookups)) == {
        places.vault_dir / "recipient.txt",
        places.profiles_file,
        places.aws_config,
        places.aws_credentials,
        places.index_file,
    }
