"""Commands of one user that start at the same moment, on profiles that share both files."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.end_to_end import person as user
from tests.end_to_end.person import PASSPHRASE, Person, readable

#: Seconds for one command among sixty on a busy machine.
SECONDS = 240


@dataclass(frozen=True)
class Act:
    """One command of keyturn on one profile."""

    words: tuple[str, ...]
    kill_after: float | None = None
    """Seconds after which it is killed and run again; None if it is left to end."""
    end_texts: tuple[str, ...] = ()
    """Errors of the second run that say that the first one completed the act."""


@dataclass(frozen=True)
class Outcome:
    """The end of an act."""

    act: Act
    code: int
    stdout: str
    stderr: str
    kills: int

    @property
    def is_done(self) -> bool:
        was_done_before = self.kills > 0 and any(text in self.stderr for text in self.act.end_texts)
        return self.code == 0 or was_done_before

    def __str__(self) -> str:
        return f"{' '.join(self.act.words)}: exit {self.code} after {self.kills} kills: {self.stderr.strip()}"


def add_users(person: Person, count: int) -> dict[str, str]:
    """Add profiles of IAM users, each with a plaintext key, and return the secrets by profile. Every second
    one has no section in the config file, so that an adoption creates it.
    """
    secrets, credentials, config = {}, "", ""
    for number in range(count):
        name = f"team-{number:02}"
        state = person.sandbox.state
        key = state.add_key(state.add_user("111122223333", name))
        secrets[name] = key.secret.reveal()
        credentials += f"\n[{name}]\naws_access_key_id = {key.key_id}\n"
        credentials += f"aws_secret_access_key = {secrets[name]}\n"
        if number % 2:
            config += f"\n[profile {name}]\nregion = eu-west-1\n"
        else:
            credentials += "region = eu-west-1\n"
    for path, text in ((person.config, config), (person.credentials, credentials)):
        with path.open("a") as file:
            file.write(text)
    return secrets


def run_at_once(person: Person, acts: Sequence[Act]) -> list[Outcome]:
    """Run each act in a process of its own, all from the same moment."""
    outcomes: dict[int, Outcome] = {}
    start = threading.Barrier(len(acts))

    def run(number: int, act: Act) -> None:
        start.wait()
        outcomes[number] = _run(person, act)

    threads = [threading.Thread(target=run, args=(number, act)) for number, act in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [outcomes[number] for number in range(len(acts))]


def _run(person: Person, act: Act) -> Outcome:
    kills = 0
    kill_after = act.kill_after
    while True:
        secrets = {"--passphrase-fd": PASSPHRASE} if act.words[0] == "release" else {}
        with _started(person, act.words, secrets) as process:
            if kill_after is not None:
                time.sleep(kill_after)
                process.send_signal(signal.SIGKILL)
            out, errors = process.communicate(timeout=SECONDS)
        if process.returncode != -signal.SIGKILL:
            return Outcome(act, process.returncode, out, errors, kills)
        kills, kill_after = kills + 1, None


@contextlib.contextmanager
def _started(
    person: Person, words: Sequence[str], secrets: Mapping[str, str]
) -> Iterator[subprocess.Popen[str]]:
    with readable(secrets) as (options, opened):
        yield subprocess.Popen(
            [user.KEYTURN, *words, *options],
            env=person.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=opened,
        )


def require_all_done(outcomes: Sequence[Outcome]) -> None:
    """Check that each act was done, and none ended with exit 5 or a traceback."""
    amiss = [str(one) for one in outcomes if not one.is_done or one.code == 5 or "Traceback" in one.stderr]
    assert not amiss, f"{len(amiss)} of {len(outcomes)}:\n" + "\n".join(amiss)
