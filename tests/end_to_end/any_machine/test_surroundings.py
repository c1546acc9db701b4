"""Homes, environments and limits that keyturn may be started with."""

from __future__ import annotations

import json
import os
import resource
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.any_machine.conftest import Account
from tests.end_to_end.any_machine.test_permissions import PASSPHRASE_FD, does_main_job
from tests.end_to_end.person import KEYTURN, PASSPHRASE, Person
from tests.support.needs import needs


def test_without_a_home_nothing_is_created_in_the_working_folder(public_keyturn: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    nameless = 61_000 + os.getpid() % 1000
    prefix = [needs("setpriv"), f"--reuid={nameless}", f"--regid={nameless}", "--clear-groups"]
    for words in (("vault", "init", "--slot", "passphrase"), ("list",)):
        done = subprocess.run(
            [*prefix, public_keyturn, *words],
            env={"PATH": os.defpath}, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 2, done.stderr
        assert "Set HOME" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_home_that_is_empty_or_relative_is_not_used_for_the_vault(account: Account) -> None:
    for home in ("", "relative"):
        environ = {**account.environ, "HOME": home}
        account.keyturn("vault", "init", "--slot", "passphrase", environ=environ, fds=PASSPHRASE_FD)
        assert (account.home / ".local/share/keyturn/vault").is_dir(), "the home of the password database"
        account.keyturn("agent", "stop")
        shutil.rmtree(account.home / ".local")


def test_cron_finds_the_agent_of_the_login_session(account: Account) -> None:
    runtime = Path(f"/run/user/{account.uid}")
    runtime.mkdir(mode=0o700, parents=True)
    os.chown(runtime, account.uid, account.uid)
    try:
        account.makes_vault(environ={**account.environ, "XDG_RUNTIME_DIR": str(runtime)})
        assert account.keyturn("adopt", "ci-deploy", "--yes").returncode == 0
        done = account.keyturn("credential-process", "ci-deploy")
        assert done.returncode == 0, done.stderr
        assert (runtime / "keyturn" / "agent.sock").exists()
    finally:
        account.keyturn("agent", "stop")
        shutil.rmtree(runtime)


def test_an_empty_environment_as_under_cron_does_the_main_job(account: Account) -> None:
    cron = {"HOME": str(account.home), "LOGNAME": account.name, "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh"}
    environ = {**cron, **account.endpoints}
    assert account.keyturn("list", environ={**cron, "AWS_EC2_METADATA_DISABLED": "true"}).returncode == 0
    account.makes_vault(environ=environ)
    does_main_job(account)


def test_a_home_with_blanks_and_other_letters_does_the_main_job(account: Account) -> None:
    home = account.home / "José's home  (ß, 家)"
    home.mkdir()
    shutil.copytree(account.aws_folder, home / ".aws")
    for path in (home, *home.rglob("*")):
        os.chown(path, account.uid, account.uid)
    moved = Account(account.name, account.uid, home, account.keyturn_program, account.sandbox)
    moved.makes_vault()
    does_main_job(moved)
    moved.keyturn("agent", "stop")


def test_few_open_files_are_one_line_at_once(newcomer: Person) -> None:
    for limit in (8, 16):
        done = subprocess.run(
            [KEYTURN, "list"], env=newcomer.environ, capture_output=True, text=True, check=False, timeout=10,
            preexec_fn=lambda limit=limit: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)),  # type: ignore[misc]  # binds the loop variable
        )  # fmt: skip
        assert done.returncode == 2, done.stderr
        assert f"allows {limit} open files" in done.stderr
        assert "ulimit -n" in done.stderr


def test_a_linked_file_that_everybody_may_write_is_not_called_a_folder(newcomer: Person) -> None:
    newcomer.makes_vault()
    real = newcomer.sandbox.home / "dotfiles" / "aws-creds"
    real.parent.mkdir(mode=0o700)
    newcomer.credentials.rename(real)
    newcomer.credentials.symlink_to(real)
    real.chmod(0o666)
    done = newcomer.keyturn("adopt", "ci-deploy", "--yes")
    assert (done.returncode, done.stderr.count("\n")) == (5, 1), done.stderr
    assert f"everybody may write the linked file {real}. " in done.stderr


@pytest.mark.parametrize("variable", ["PYTHONPATH", "PYTHONINSPECT", "PYTHONSTARTUP", "PYTHONWARNINGS"])
def test_pythons_variables_do_not_reach_the_process_that_reads_a_passphrase(
    newcomer: Person, tmp_path: Path, variable: str
) -> None:
    newcomer.makes_vault()
    newcomer.does("vault", "lock")
    trap = tmp_path / "click.py"
    trap.write_text(f"open({str(tmp_path / 'sprung')!r}, 'w').close()\n")
    value = {"PYTHONPATH": str(tmp_path), "PYTHONSTARTUP": str(trap), "PYTHONWARNINGS": "ignore::click.X"}
    environ = {variable: value.get(variable, "1"), "PYTHONNOUSERSITE": "1"}
    done = newcomer.keyturn("vault", "unlock", fds={"--passphrase-fd": PASSPHRASE}, extra=environ)
    assert done.returncode == 0, done.stderr
    assert ">>>" not in done.stdout + done.stderr
    assert not (tmp_path / "sprung").exists()
    newcomer.does("adopt", "ci-deploy", "--yes")
    shown = newcomer.keyturn("exec", "ci-deploy", "--", "/usr/bin/env", extra=environ)
    assert f"{variable}={environ[variable]}\n" in shown.stdout, "the user's program gets it"


def read_only(account: Account) -> tuple[str, ...]:
    """Return a command that runs a program while the home is read-only for it."""
    home = shlex.quote(str(account.home))
    script = f'mount --bind {home} {home} && mount -o remount,bind,ro {home} && exec "$@"'
    return (needs("unshare"), "--mount", "/bin/sh", "-c", script, "sh")


@pytest.mark.parametrize("has_runtime_folder", [True, False])
def test_a_read_only_home_refreshes_and_hands_out_but_edits_nothing(
    account: Account, has_runtime_folder: bool
) -> None:
    account.makes_vault()
    assert account.keyturn("adopt", "ci-deploy", "--yes").returncode == 0
    account.keyturn("agent", "stop")
    environ = account.environ
    runtime = Path("/opt") / f"kt-run-{account.uid}"
    if has_runtime_folder:
        runtime.mkdir(mode=0o700)
        os.chown(runtime, account.uid, account.uid)
        environ["XDG_RUNTIME_DIR"] = str(runtime)
    prefix, before = read_only(account), account.shared_files()
    try:
        done = account.keyturn("vault", "unlock", environ=environ, fds=PASSPHRASE_FD, prefix=prefix)
        assert done.returncode == 0, done.stderr
        key_ids = set()
        for words in (
            ("refresh", "ci-deploy"),
            ("exec", "ci-deploy", "--", "/bin/true"),
            ("credential-process", "ci-deploy"),
            ("credential-process", "ci-deploy"),
            ("list",),
        ):
            done = account.keyturn(*words, environ=environ, prefix=prefix)
            assert done.returncode == 0, (words, done.stderr)
            if words[0] == "credential-process":
                key_ids.add(json.loads(done.stdout)["AccessKeyId"])
        assert len(key_ids) == 1, "the agent keeps the session in memory"
        for edit in (
            ("adopt", "personal", "--yes"),
            ("release", "ci-deploy", "--yes"),
            ("deliver", "ci-release", "--to", "credentials-file"),
            ("rotate", "ci-deploy", "--yes"),
        ):
            done = account.keyturn(*edit, environ=environ, prefix=prefix, fds=PASSPHRASE_FD)
            assert done.returncode == 5, (edit, done.stderr)
            assert "read-only file system" in done.stderr
        assert account.shared_files() == before
        assert not any(call.action == "CreateAccessKey" for call in account.sandbox.calls)
    finally:
        account.keyturn("agent", "stop", environ=environ, prefix=prefix)
        shutil.rmtree(runtime, ignore_errors=True)


def test_a_vault_in_a_read_only_home_is_refused_before_the_passphrase_is_asked(account: Account) -> None:
    done = account.keyturn("vault", "init", "--slot", "passphrase", prefix=read_only(account))
    assert done.returncode == 5, done.stderr
    assert "read-only file system" in done.stderr
    assert "passphrase" not in done.stderr
