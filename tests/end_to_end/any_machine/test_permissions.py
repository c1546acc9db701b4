"""Owner and mode of homes, shared files and keyturn's own files, on a machine with several users."""

from __future__ import annotations

import os
import shlex
import subprocess
from typing import Any

import pytest

from tests.end_to_end.any_machine.conftest import Account
from tests.end_to_end.person import PASSPHRASE, readable
from tests.support.needs import needs

PASSPHRASE_FD = {"--passphrase-fd": PASSPHRASE}


def does_main_job(account: Account, *, umask: int = 0o022) -> None:
    """Adopt, refresh, hand out and release a profile. The shared files are byte-identical at the end."""
    before = account.shared_files()
    for words in (
        ("adopt", "ci-deploy", "--yes"),
        ("refresh", "ci-deploy"),
        ("exec", "ci-deploy", "--", "/bin/true"),
        ("credential-process", "ci-deploy"),
    ):
        done = account.keyturn(*words, umask=umask)
        assert done.returncode == 0, (words, done.stderr)
    done = account.keyturn("release", "--all", "--yes", umask=umask, fds=PASSPHRASE_FD)
    assert done.returncode == 0, done.stderr
    assert account.shared_files() == before


class SuAccount(Account):
    """An account in a login shell of `su -`, whose environment is what the system gives it."""

    def run(self, *words: str, **how: Any) -> subprocess.CompletedProcess[str]:
        given = [f"{name}={value}" for name, value in self.endpoints.items()]
        with readable(how.pop("fds", None) or {}) as (options, opened):
            line = shlex.join(["env", *given, *words, *options])
            shell = (needs("su"), "-", self.name, "-c", line)
            return super().run(*shell, **{**how, "uid": 0, "pass_fds": opened})


def test_su_does_the_main_job(account: Account) -> None:
    by_su = SuAccount(account.name, account.uid, account.home, account.keyturn_program, account.sandbox)
    by_su.makes_vault()
    does_main_job(by_su)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o277, 0o777])
def test_each_umask_does_the_main_job(account: Account, umask: int) -> None:
    account.makes_vault(umask=umask)
    does_main_job(account, umask=umask)
    own = [name for name in account.tree() if "keyturn" in name]
    assert not any(account.tree()[name][1] & 0o077 for name in own), "keyturn's own files are private"


def test_umask_002_and_a_private_group_need_no_chmod(account: Account) -> None:
    account.home.chmod(0o775)
    account.aws_folder.chmod(0o775)
    for name in ("config", "credentials"):
        (account.aws_folder / name).chmod(0o664)
    account.makes_vault(umask=0o002)
    does_main_job(account, umask=0o002)
    own = [name for name in account.tree() if "keyturn" in name]
    assert own
    assert not any(account.tree()[name][1] & 0o077 for name in own), "keyturn's own files are private"


def test_a_group_with_another_member_is_offered_the_chmod_in_the_review(
    account: Account, other_account: Account
) -> None:
    subprocess.run(["usermod", "-a", "-G", account.name, other_account.name], check=True)
    account.aws_folder.chmod(0o775)
    (account.aws_folder / "credentials").chmod(0o660)
    account.makes_vault()
    planned = account.keyturn("adopt", "ci-deploy", "--plan")
    assert planned.returncode == 0, planned.stderr
    assert planned.stderr.count("chmod g-w") == 2
    assert account.aws_folder.stat().st_mode & 0o777 == 0o775, "a plan changes nothing"
    done = account.keyturn("adopt", "ci-deploy", "--yes")
    assert done.returncode == 0, done.stderr
    assert account.aws_folder.stat().st_mode & 0o777 == 0o755


def test_what_everybody_may_write_is_refused_before_the_passphrase_is_asked(account: Account) -> None:
    account.makes_vault()
    account.keyturn("vault", "lock")
    before = account.shared_files()
    for path in (account.aws_folder, account.aws_folder / "config", account.home):
        mode = path.stat().st_mode
        path.chmod(mode | 0o002)
        done = account.keyturn("adopt", "ci-deploy", "--yes")
        assert done.returncode == 5, done.stderr
        assert f"chmod o-w {path}" in done.stderr
        path.chmod(mode)
    assert account.shared_files() == before


@pytest.mark.parametrize("place", ["state", "index", "profiles", "vault"])
def test_own_files_that_others_may_write_are_not_believed(account: Account, place: str) -> None:
    account.makes_vault()
    assert account.keyturn("adopt", "ci-deploy", "--yes").returncode == 0
    path = {
        "state": account.home / ".local/state/keyturn",
        "index": account.home / ".local/state/keyturn/index.json",
        "profiles": account.home / ".config/keyturn",
        "vault": account.home / ".local/share/keyturn/vault",
    }[place]
    path.chmod(0o777)
    before = account.shared_files()
    for words in (("list",), ("refresh", "ci-deploy"), ("exec", "ci-deploy", "--", "/bin/true")):
        done = account.keyturn(*words)
        assert done.returncode == 5, (words, done.stdout)
        assert f"{path}: other users may write it" in done.stderr
        assert "chmod" in done.stderr
    assert account.shared_files() == before


@pytest.mark.parametrize(
    "words", [("vault", "unlock"), ("list",), ("adopt", "ci-deploy", "--yes"), ("vault", "init")]
)
@pytest.mark.parametrize("has_vault", [False, True])
def test_sudo_with_the_users_environment_leaves_no_file(
    account: Account, words: tuple[str, ...], has_vault: bool
) -> None:
    if has_vault:
        account.makes_vault()
        account.keyturn("vault", "lock")
    before = account.tree()
    done = account.keyturn(*words, uid=0)
    assert done.returncode == 5, (done.stdout, done.stderr)
    assert "without sudo" in done.stderr
    assert done.stderr.count("\n") == 1
    assert account.tree() == before


def test_another_users_home_is_refused_and_the_owner_goes_on(
    account: Account, other_account: Account
) -> None:
    account.makes_vault()
    account.home.chmod(0o755)
    before = account.tree()
    done = account.keyturn("list", uid=other_account.uid)
    assert done.returncode == 5, done.stdout
    assert account.tree() == before
    assert account.keyturn("list").returncode == 0


def test_root_works_in_its_own_home_and_a_user_without_an_entry_in_a_home_of_its_own(
    account: Account,
) -> None:
    nameless = 64_000 + os.getpid() % 1000
    for path in (account.home, *account.home.rglob("*")):
        os.chown(path, nameless, nameless)
    for uid in (nameless, 0):
        for path in (account.home, *account.home.rglob("*")):
            os.chown(path, uid, uid)
        done = account.keyturn("list", uid=uid)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", [("list",), ("credential-process", "ci-deploy"), ("vault", "lock")])
def test_a_closed_home_of_another_user_is_named(
    account: Account, other_account: Account, words: tuple[str, ...]
) -> None:
    account.makes_vault()
    account.home.chmod(0o700)
    for uid in (other_account.uid, 0):
        done = account.keyturn(*words, uid=uid)
        assert done.returncode == 5, done.stderr
        assert f"belongs to {account.name}" in done.stderr
        assert done.stderr.count("\n") == 1
