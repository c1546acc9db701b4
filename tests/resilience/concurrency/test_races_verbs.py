"""Sixty commands of ten verbs at once, each on a profile of its own in the two shared files, some of them
killed and run again, beside other programs that write the files: all work, and nothing is lost."""

from __future__ import annotations

import itertools
import json
import random
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from keyturn.awsconfig.document import FileKind, parse
from keyturn.model.secret import Secret
from keyturn.service import CredentialService
from tests.end_to_end.parallel_acts import Act, add_users, require_all_done, run_at_once
from tests.end_to_end.person import Person, new_person

Number = Callable[[str, object], None]

#: Commands on a managed profile, after which it is managed, except release.
VERBS: tuple[tuple[str, ...], ...] = (
    ("release", "{}", "--yes"),
    ("deliver", "{}", "--to", "credentials-file"),
    ("set", "{}", "duration=2h"),
    ("refresh", "{}"),
    ("release", "{}", "--yes"),
    ("deliver", "{}", "--to", "nowhere"),
    ("stop", "{}"),
    ("credential-process", "{}"),
    ("set", "{}", "renew=on-demand"),
    ("env", "{}"),
    ("release", "{}", "--yes"),
    ("deliver", "{}", "--to", "credential-process"),
    ("list", "--json"),
    ("set", "{}", "region=eu-north-1"),
    ("show", "{}"),
)

#: Errors of an act that is run again after a kill, because it was done before the kill.
END_TEXTS = {"adopt": ("already managed by keyturn",), "release": ("is not managed by keyturn",)}


@pytest.fixture
def person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    with new_person(tmp_path_factory.mktemp("verbs")) as somebody:
        yield somebody


def acts_of_round(managed: Mapping[str, bool], rng: random.Random) -> list[Act]:
    """Return one act for each profile: a native one is adopted. Three in ten are killed, if
    they have not ended by then."""
    verbs = itertools.cycle(rng.sample(VERBS, len(VERBS)))
    acts = []
    for name, is_managed in managed.items():
        verb = next(verbs) if is_managed else ("adopt", "{}", "--yes")
        words = tuple(word.format(name) for word in verb)
        kill_after = rng.uniform(0.1, 2.5) if rng.random() < 0.3 else None
        acts.append(Act(words, kill_after, END_TEXTS.get(words[0], ())))
    return acts


@contextmanager
def other_writers(person: Person, number_of_round: int) -> Iterator[list[str]]:
    """Run `aws configure set` on the config file, and a script that appends sections to the credentials file.
    Yield the names of what they have written, which is complete afterwards."""
    stop, written = threading.Event(), list[str]()

    def configure() -> None:
        for number in itertools.count(number_of_round * 1000):
            words = ("configure", "set", f"c_{number}", "here", "--profile", "foreign")
            done = person.run(str(Path(sys.executable).with_name("aws")), *words)
            assert done.returncode == 0, done.stderr
            written.append(f"c_{number}")
            if stop.wait(1):
                return

    def append() -> None:
        for number in itertools.count(number_of_round * 1000):
            with person.credentials.open("a") as file:
                file.write(f"\n[other-{number}]\nregion = eu-west-1\n")
            written.append(f"other-{number}")
            if stop.wait(1):
                return

    threads = [threading.Thread(target=configure), threading.Thread(target=append)]
    for thread in threads:
        thread.start()
    try:
        yield written
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def sections(person: Person) -> dict[str, bytes]:
    """Return the text of each section by file and header, without the blank lines after it."""
    found = {}
    for path, kind in ((person.config, FileKind.CONFIG), (person.credentials, FileKind.CREDENTIALS)):
        header, lines = "", list[bytes]()
        for line in [*path.read_bytes().splitlines(), b"[end]"]:
            if line.startswith(b"["):
                found[f"{kind} {header}"] = b"\n".join(lines).rstrip()
                header, lines = line.decode(), []
            lines.append(line)
    return found


def require_nothing_lost(person: Person, recovery_key: Secret, secrets: Mapping[str, str]) -> None:
    """Check that each secret access key is in the credentials file or in the vault, or in both."""
    service = CredentialService.from_environ(person.environ, use_agent=False)
    service.unlock_here(recovery_key=recovery_key)
    document = parse(person.credentials.read_bytes(), kind=FileKind.CREDENTIALS)
    for name, secret in secrets.items():
        entry = service.context.vault.key(f"key/{name}")
        in_file = document.values(name).get("aws_secret_access_key")
        assert secret in {in_file, entry["secret"] if entry else None}, f"the key of {name} is lost"


def run_rounds(person: Person, count: int, rounds: int, seed: int, *, is_alone: bool) -> tuple[int, int, int]:
    """Run rounds of one act for each of `count` profiles, then release all. Return the number of acts, of
    kills, and of edits by other programs.

    :param is_alone: True if no other program writes the files.
    """
    rng = random.Random(seed)  # noqa: S311  # no secret depends on it
    secrets = add_users(person, count)
    before, before_files = sections(person), person.files()
    recovery_key = person.makes_vault()
    person.does("adopt", *list(secrets)[: count * 3 // 4], "--yes")
    acts = kills = 0
    moved: set[str] = set()
    written: list[str] = []
    for number in range(rounds):
        managed = {name: bool(row["managed"]) for name, row in rows(person).items() if name in secrets}
        planned = acts_of_round(managed, rng)
        if is_alone:
            outcomes = run_at_once(person, planned)
        else:
            with other_writers(person, number) as written_now:
                outcomes = run_at_once(person, planned)
            written += written_now
        require_all_done(outcomes)
        moved |= {act.words[1] for act in planned if act.words[-1] == "region=eu-north-1"}
        acts, kills = acts + len(outcomes), kills + sum(one.kills for one in outcomes)
        require_nothing_lost(person, recovery_key, secrets)
        found = rows(person)
        for name, act in zip(managed, planned, strict=True):
            is_managed = act.words[0] != "release"
            assert found[name]["managed"] is is_managed, f"{act.words}: managed is not {is_managed}"
            assert found[name]["problem"] is None, f"{act.words}: {found[name]['problem']}"
    managed_names = [name for name, row in rows(person).items() if name in secrets and row["managed"]]
    for name in moved:
        person.does("set", name, "region=eu-west-1")
    person.releases(*managed_names)
    after = sections(person)
    for header, text in before.items():
        # What is released into a section that was changed since has the same lines, in another order.
        is_moved = any(f"{name}]" in header for name in moved)
        in_order = sorted if is_moved else list[bytes]
        assert in_order(after[header].splitlines()) == in_order(text.splitlines()), header
    if is_alone and not moved:
        assert person.files() == before_files
    texts = person.config.read_text() + person.credentials.read_text()
    assert [name for name in written if name not in texts] == []
    return acts, kills, len(written)


def rows(person: Person) -> dict[str, dict[str, object]]:
    return {row["name"]: row for row in json.loads(person.does("list", "--json"))["profiles"]}


@pytest.mark.timeout(600)
def test_ten_commands_at_once_some_of_them_killed_lose_nothing(
    person: Person, record_property: Number
) -> None:
    acts, kills, _ = run_rounds(person, 10, 1, seed=19, is_alone=True)
    record_property("races: commands at once on profiles of their own, killed and repeated", (acts, kills))


@pytest.mark.campaign
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("is_alone", [True, False], ids=["alone", "beside other programs"])
def test_sixty_commands_at_once_some_of_them_killed_lose_nothing(
    person: Person, record_property: Number, is_alone: bool
) -> None:
    acts, kills, edits = run_rounds(person, 60, 2, seed=1, is_alone=is_alone)
    figures = f"{acts} commands, {kills} killed and repeated, beside {edits} edits of other programs"
    record_property(f"races: sixty at once on profiles of their own: {figures}", "nothing lost")
