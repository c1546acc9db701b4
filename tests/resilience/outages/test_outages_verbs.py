"""The verbs in a shell during failures: one line on stderr, a documented exit code, and nothing lost."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from keyturn.vault import passphrase
from keyturn_sandbox import Sandbox
from keyturn_sandbox.seed_managed import PASSPHRASE, furnish
from tests.core.vault import weak_age
from tests.end_to_end.person import Person
from tests.resilience.outages.failures import LONGEST, QUICK, SILENCE, WAYS, Failure
from tests.resilience.outages.outage_assertions import digests_of, faults_of_line, secrets_of

EXPIRED, VALID = "ci-audit", "ci-release"


class Shell:
    """A user with managed profiles, an open agent, and a shell whose way to AWS may lead nowhere."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.person = Person(sandbox)
        self.sandbox = sandbox

    def start_failure(self, failure: Failure) -> None:
        """Start a failure. If it lies in the environment, start an agent anew in it."""
        failure.start(self.sandbox)
        if failure.environ:
            self.person.environ |= {
                name: value.format(port=self.sandbox.port) for name, value in failure.environ.items()
            }
            self.restart_agent()

    def end_failure(self, failure: Failure) -> None:
        """End all failures."""
        self.sandbox.faults.clear()
        self.person.environ = dict(self.sandbox.environ)
        if failure.environ:
            self.restart_agent()

    def restart_agent(self) -> None:
        """Restart the agent with the current environment."""
        self.person.keyturn("agent", "stop")
        self.person.does("vault", "unlock", fds={"--passphrase-fd": PASSPHRASE})

    def check_failed(self, failure: Failure, *words: str) -> None:
        """Run one verb, which must print one line and change nothing."""
        before = digests_of(self.sandbox.folder)
        began = time.monotonic()
        result = self.person.keyturn(*words)
        assert time.monotonic() - began < LONGEST + 10
        assert (result.returncode, result.stdout) == (1, "")
        (line,) = result.stderr.splitlines()
        assert line.startswith("keyturn: ")
        assert faults_of_line(line, failure.says, secrets_of(self.sandbox)) == []
        assert EXPIRED in line
        assert digests_of(self.sandbox.folder) == before


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """Return one for a whole module."""
    folder = tmp_path_factory.mktemp("baddays") / "sandbox"
    with pytest.MonkeyPatch.context() as patched, Sandbox(folder) as sandbox:
        for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
            patched.delenv(name, raising=False)
        for name, value in sandbox.environ.items():
            patched.setenv(name, value)
        patched.setattr(passphrase, "seal", weak_age.seal)
        furnish(sandbox, sandbox.environ)
        home_folder = Shell(sandbox)
        try:
            yield home_folder
        finally:
            home_folder.person.environ = dict(sandbox.environ)
            home_folder.person.leaves()


def check_failure(shell: Shell, failure: Failure) -> int:
    """Refresh, request credentials, request valid ones, and list; then recover. Return the number of verbs
    run."""
    shell.start_failure(failure)
    try:
        shell.check_failed(failure, "refresh", EXPIRED)
        shell.check_failed(failure, "credential-process", EXPIRED)
        # A session serves only the endpoint that issued it.
        if not failure.is_slow and "AWS_ENDPOINT_URL" not in failure.environ:
            served = json.loads(shell.person.does("credential-process", VALID))
            assert served["SessionToken"]
        assert EXPIRED in shell.person.does("list"), "listing needs no AWS"
    finally:
        shell.end_failure(failure)
    shell.person.does("refresh", EXPIRED)
    shell.person.does("stop", EXPIRED)
    return 4


@pytest.mark.parametrize("failure", QUICK[:1], ids=lambda failure: failure.name)
def test_a_verb_says_one_line_and_loses_nothing(shell: Shell, failure: Failure) -> None:
    check_failure(shell, failure)


@pytest.mark.campaign
@pytest.mark.timeout(900)
@pytest.mark.parametrize("failures", [QUICK, WAYS, SILENCE], ids=["answers", "ways", "silence"])
def test_every_verb_on_every_bad_day(
    shell: Shell, failures: Sequence[Failure], record_property: Callable[[str, object], None]
) -> None:
    shell.person.does("refresh", VALID)
    shell.sandbox.move_clock(3100)  # due, and valid for eight minutes yet
    stand_in_fault = 0
    for failure in failures:
        stand_in_fault += check_failure(shell, failure)
    record_property("bad days: verbs run on them", stand_in_fault)


@pytest.mark.parametrize("failure", [QUICK[-1]], ids=lambda failure: failure.name)
def test_adopting_needs_no_aws_and_is_whole_or_not_at_all(shell: Shell, failure: Failure) -> None:
    shell.start_failure(failure)
    before = shell.person.files()
    shell.person.does("adopt", "personal", "--yes")
    shell.end_failure(failure)
    assert shell.person.row("personal")["managed"]
    shell.person.does("refresh", "personal")
    shell.person.does("release", "personal", "--yes", fds={"--passphrase-fd": PASSPHRASE})
    assert shell.person.files() == before
