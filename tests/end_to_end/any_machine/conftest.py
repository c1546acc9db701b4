"""Real accounts of this machine, with homes of their own and a keyturn that everybody may run."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from keyturn_sandbox import Sandbox
from tests.adversarial.process_isolation.ordinary import common_python, install
from tests.end_to_end.person import PASSPHRASE, readable
from tests.support.needs import needs, skip_or_fail

SECONDS = 60
_numbers = itertools.count(1)
_VARIABLES = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL_IAM", "AWS_EC2_METADATA_DISABLED")


#: Tests that run every day, at least one for each promise. The others have the mark `campaign`, because all
#: of them take several minutes: `.ci/run matrix machine` runs all.
DAILY = frozenset(
    {
        "test_a_config_file_of_too_many_sections_is_a_problem_of_the_file",
        "test_a_confirmed_set_hands_out_the_key_and_temporary_ends_it",
        "test_a_false_session_is_refused[ASIAQQQQQQQQQQQQQQQQ-12.5-longer than requested]",
        "test_a_hostile_endpoint_gets_no_cached_session_and_leaves_none_behind",
        "test_a_line_in_profiles_toml_alone_gives_sessions_and_a_warning",
        "test_a_long_answer_is_refused_while_it_is_read[with its length]",
        "test_a_newer_history_stops_adopt_before_the_vault_is_written",
        "test_a_read_only_home_refreshes_and_hands_out_but_edits_nothing[True]",
        "test_an_agent_of_another_build_serves_until_the_next_unlock_replaces_it",
        "test_an_old_copy_of_the_keys_is_noticed_though_the_index_was_lost",
        "test_an_undo_ends_after_the_new_key_was_deleted_and_the_old_one_reactivated_at_aws",
        "test_few_open_files_are_one_line_at_once",
        "test_fields_of_a_later_version_survive_every_writer",
        "test_no_entry_of_the_index_lets_a_delivery_replace_a_native_key",
        "test_no_entry_of_the_index_removes_a_native_key[list]",
        "test_nothing_of_it_is_taken_over_the_forwarded_socket",
        "test_own_files_that_others_may_write_are_not_believed[state]",
        "test_pythons_variables_do_not_reach_the_process_that_reads_a_passphrase[PYTHONPATH]",
        "test_region_sets_both",
        "test_sudo_with_the_users_environment_leaves_no_file[True-words0]",
        "test_the_last_four_characters_do_not_override_the_grace_period",
        "test_the_list_of_a_long_chain_is_printed_soon",
        "test_the_region_is_the_callers_and_not_that_of_the_agents_start",
        "test_the_vault_opens_where_its_child_gets_a_twentieth_of_the_time",
        "test_umask_002_and_a_private_group_need_no_chmod",
        "test_without_a_config_file_nothing_is_written",
        "test_without_a_home_nothing_is_created_in_the_working_folder",
    }
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder that do not run every day."""
    own = [item for item in items if Path(__file__).parent in item.path.parents]
    for item in own:
        if item.name not in DAILY:
            item.add_marker(pytest.mark.campaign)


@dataclass
class Account:
    """An account with a home. Programs run as it with nothing but the given environment."""

    name: str
    uid: int
    home: Path
    keyturn_program: str
    sandbox: Sandbox

    @property
    def environ(self) -> dict[str, str]:
        """The environment of a login shell, and the endpoints of the sandbox in place of AWS's."""
        return {
            "HOME": str(self.home), "USER": self.name, "LOGNAME": self.name, "PATH": os.defpath,
            "LANG": "C.UTF-8", **self.endpoints,
        }  # fmt: skip

    @property
    def endpoints(self) -> dict[str, str]:
        return {name: self.sandbox.environ[name] for name in _VARIABLES}

    def run(
        self,
        *words: str,
        environ: Mapping[str, str] | None = None,
        umask: int = 0o022,
        uid: int | None = None,
        fds: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        pass_fds: Sequence[int] = (),
    ) -> subprocess.CompletedProcess[str]:
        """Run a program as this account.

        :param environ: its whole environment.
        :param uid: another user, who has this environment.
        :param fds: options that take a file descriptor, with the text to read from it.
        :param prefix: a command that runs the program, as root.
        :param pass_fds: further descriptors that the program gets.
        """
        uid = self.uid if uid is None else uid
        become = (
            ()
            if uid == 0
            else (needs("setpriv"), f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--inh-caps=-all")
        )
        with readable(fds or {}) as (options, opened):
            return subprocess.run(
                [*prefix, *become, *words, *options],
                env=self.environ if environ is None else dict(environ),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                pass_fds=(*opened, *pass_fds),
                check=False,
                cwd="/",
                umask=umask,
            )

    def keyturn(self, *words: str, **how: Any) -> subprocess.CompletedProcess[str]:
        """Run `keyturn WORDS` as this account; see :meth:`run`."""
        return self.run(self.keyturn_program, *words, **how)

    def makes_vault(self, **how: Any) -> None:
        """Create the vault, open in an agent."""
        words = ("vault", "init", "--slot", "passphrase")
        done = self.keyturn(*words, fds={"--passphrase-fd": PASSPHRASE}, **how)
        assert done.returncode == 0, done.stderr

    @property
    def aws_folder(self) -> Path:
        return self.home / ".aws"

    def shared_files(self) -> tuple[bytes, bytes]:
        """Return the contents of both shared files."""
        return tuple((self.aws_folder / name).read_bytes() for name in ("config", "credentials"))  # type: ignore[return-value]  # of two

    def tree(self) -> dict[str, tuple[int, int]]:
        """Return owner and mode of everything in the home."""
        found = {}
        for path in (self.home, *self.home.rglob("*")):
            status = path.lstat()
            found[str(path.relative_to(self.home))] = (status.st_uid, status.st_mode)
        return found


@pytest.fixture(scope="session")
def public_keyturn() -> Iterator[str]:
    """Return a keyturn that everybody may run, in a permanent folder: a copy of this one, or what `KEYTURN`
    names."""
    if "KEYTURN" in os.environ:
        yield os.environ["KEYTURN"]
        return
    if os.geteuid() != 0:
        skip_or_fail("only root can create accounts")
    python = common_python()
    if python is None:
        skip_or_fail("no Python of this version that an ordinary user can run")
    folder = Path(tempfile.mkdtemp(prefix="keyturn-test-", dir="/opt"))
    folder.chmod(0o755)
    yield install(folder / "keyturn", python).keyturn
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def account(public_keyturn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """Return an account as Debian and Fedora create it, with a private group, and the seeded shared files."""
    with Sandbox(tmp_path_factory.mktemp("aws")) as sandbox, _account(public_keyturn, sandbox) as created:
        yield created


@pytest.fixture
def other_account(public_keyturn: str, account: Account) -> Iterator[Account]:
    """Return a second account."""
    with _account(public_keyturn, account.sandbox) as created:
        yield created


class _account:  # noqa: N801  # a context manager
    """Creates an account, and removes it with its home and processes."""

    def __init__(self, program: str, sandbox: Sandbox) -> None:
        self.program, self.sandbox = program, sandbox

    def __enter__(self) -> Account:
        if os.geteuid() != 0:
            skip_or_fail("only root can create accounts")
        self.name = f"kt{os.getpid()}-{next(_numbers)}"
        home = Path("/home") / self.name
        subprocess.run(
            [needs("useradd"), "--create-home", "--user-group", "--home-dir", home, self.name],
            check=True,
            capture_output=True,
        )
        uid = home.stat().st_uid
        shutil.copytree(self.sandbox.home / ".aws", home / ".aws")
        for path in (home / ".aws", *(home / ".aws").rglob("*")):
            os.chown(path, uid, uid)
        return Account(self.name, uid, home, self.program, self.sandbox)

    def __exit__(self, *_: object) -> None:
        # userdel refuses an account that still has a process, and one that was killed takes a moment to end.
        until = time.monotonic() + SECONDS
        while not subprocess.run(
            [needs("pkill"), "-KILL", "-u", self.name], check=False, capture_output=True
        ).returncode:
            assert time.monotonic() < until, f"a process of {self.name} does not end"
            time.sleep(0.05)
        subprocess.run([needs("userdel"), self.name], check=True, capture_output=True)
        shutil.rmtree(Path("/home") / self.name)  # userdel leaves a home that a test gave to another user
