"""The first release and this version on the same files, in turn and at once: no key is lost, no rollback
passes unnoticed."""

from __future__ import annotations

import itertools
import json
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from keyturn.agent import rpc_client
from keyturn.service import CredentialService
from keyturn.vault import age
from keyturn_sandbox import Sandbox
from tests.core.agent.starter import is_gone
from tests.end_to_end.any_machine import first_release
from tests.end_to_end.any_machine.test_versions import PROFILE, Home
from tests.end_to_end.person import KEYTURN, PASSPHRASE, Person
from tests.support.needs import skip_or_fail

pytestmark = pytest.mark.campaign
REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def old_program(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The program of the first release."""
    source = first_release.archive(REPOSITORY)
    if source is None:
        skip_or_fail(f"the history does not reach back to {first_release.COMMIT}")
    return str(first_release.install(source, tmp_path_factory.mktemp("first-release")))


def run(home: Home, program: str, *words: str, **secrets: str) -> subprocess.CompletedProcess[str]:
    fds = {f"--{name.replace('_', '-')}": secret for name, secret in secrets.items()}
    return home.person.run(program, *words, fds=fds)


def does(home: Home, program: str, *words: str, **secrets: str) -> str:
    done = run(home, program, *words, **secrets)
    assert done.returncode == 0, (program, words, done.stdout, done.stderr)
    return done.stdout


def unlock(home: Home, program: str) -> None:
    does(home, program, "vault", "unlock", passphrase_fd=PASSPHRASE)


def key_ids(home: Home) -> set[str]:
    """Return the ids of all long-term keys in the current `keys.age`."""
    entries = home.open(home.keys)["entries"]
    return {entry["key_id"] for name, entry in entries.items() if name.startswith("key/")}


def all_generations(home: Home) -> str:
    """Return the text of all generations of `keys.age` that this vault's identity opens."""
    identity = age.identity_from(home.recovery_key)
    plain = (identity.try_open(path.read_bytes()) for path in home.paths.vault_dir.glob("keys*.age"))
    return "".join(text.decode() for text in plain if text is not None)


def hands_out_a_session(home: Home, program: str) -> bool:
    document = json.loads(does(home, program, "credential-process", PROFILE))
    return str(document["AccessKeyId"]).startswith("ASIA")


# -- in turn -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["old", "new"])
def test_both_versions_work_on_the_same_files_in_turn(newcomer: Person, old_program: str, first: str) -> None:
    home = Home(newcomer)
    programs = {"old": old_program, "new": KEYTURN}
    order = [first, "old" if first == "new" else "new"] * 2
    wanted = key_ids(home)
    natives = json.loads(does(home, KEYTURN, "list", "--json"))["profiles"]
    adoptable = [row["name"] for row in natives if row["kind"] == "iam-key" and not row["managed"]]
    profiles = iter(adoptable)
    generation = 0
    for version in order:
        program = programs[version]
        home.person.leaves()
        unlock(home, program)
        assert hands_out_a_session(home, program)
        name = next(profiles, None)
        if name is not None:
            does(home, program, "adopt", name, "--yes")
        does(home, program, "refresh", PROFILE)
        found = key_ids(home)
        assert wanted <= found
        wanted = found
        now = home.open(home.keys)["generation"]
        assert now >= generation
        generation = now
        # Neither has moved anything aside.
        assert not list(home.paths.vault_dir.glob("*damaged*"))
        assert not list(home.paths.state_dir.glob("*.unreadable"))
    home.person.leaves()
    unlock(home, KEYTURN)
    assert f" {generation}\n" in (home.paths.vault_dir / "generation.txt").read_text()


@pytest.mark.parametrize("programs", [("old", "new"), ("new", "old")])
def test_a_rotation_begun_by_one_version_is_undone_by_the_other(
    newcomer: Person, old_program: str, programs: tuple[str, str]
) -> None:
    home = Home(newcomer)
    begins, undoes = ({"old": old_program, "new": KEYTURN}[version] for version in programs)
    before = key_ids(home)
    home.person.leaves()
    unlock(home, begins)
    run(home, begins, "rotate", PROFILE, "--yes")
    (record,) = home.paths.rotation_dir.glob("*.age")
    assert home.open(record)["record"]["new"] is not None
    home.person.leaves()
    unlock(home, undoes)
    run(home, undoes, "rotate", PROFILE, "--undo", "--yes")
    for _ in range(5):
        if home.open(record)["record"]["step"] == "undone":
            break
        run(home, undoes, "rotate", PROFILE, "--resume", "--yes")
    assert home.open(record)["record"]["step"] == "undone"
    assert key_ids(home) == before
    assert hands_out_a_session(home, undoes)


# -- at once -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("agent", ["old", "new"])
def test_the_agent_of_one_version_serves_the_other(newcomer: Person, old_program: str, agent: str) -> None:
    home = Home(newcomer)
    programs = {"old": old_program, "new": KEYTURN}
    home.person.leaves()
    unlock(home, programs[agent])
    for program in programs.values():
        assert hands_out_a_session(home, program)
        does(home, program, "refresh", PROFILE)
        assert json.loads(does(home, program, "vault", "status", "--json"))["agent"] is True


@pytest.mark.parametrize("seconds", [4.0, 15.0], ids=["within its time to finish", "longer"])
def test_an_unlock_replaces_the_old_agent_while_it_fetches_a_session(
    newcomer: Person, old_program: str, seconds: float
) -> None:
    home = Home(newcomer)
    home.person.leaves()
    unlock(home, old_program)
    old = rpc_client.find_agent(home.person.socket)
    assert old is not None
    app = CredentialService.from_environ(home.person.environ)
    assert app.snapshot().agent
    home.person.does("stop", PROFILE)
    newcomer.sandbox.faults.order("GetSessionToken", "slow", seconds=seconds)
    results: list[subprocess.CompletedProcess[str]] = []
    client = threading.Thread(
        target=lambda: results.append(run(home, old_program, "credential-process", PROFILE))
    )
    client.start()
    while newcomer.sandbox.faults.waiting():
        time.sleep(0.01)
    unlock(home, KEYTURN)
    assert app.has_changed()
    assert app.snapshot().agent
    client.join()
    assert results[0].returncode == 0, results[0].stderr
    assert json.loads(results[0].stdout)["AccessKeyId"].startswith("ASIA")
    new = rpc_client.find_agent(home.person.socket)
    assert new is not None
    assert new.pid != old.pid
    assert hands_out_a_session(home, old_program)
    home.lock()
    assert is_gone(old.pid)


def test_the_old_program_reads_a_vault_with_a_mark_as_its_own(newcomer: Person, old_program: str) -> None:
    """Its strict reader calls a new note in `recipient.txt` damage, which is why the mark is a file of its
    own."""
    home = Home(newcomer)
    assert (home.paths.vault_dir / "generation.txt").exists()
    home.person.leaves()
    unlock(home, old_program)
    status = json.loads(does(home, old_program, "vault", "status", "--json"))
    assert status["state"] == "open"
    restored = run(home, old_program, "vault", "restore", passphrase_fd=PASSPHRASE)
    assert restored.returncode == 0
    assert not list(home.paths.vault_dir.glob("*damaged*"))


# -- replaced files ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kept:
    """Files at one time."""

    content: dict[Path, bytes]

    @classmethod
    def of(cls, home: Home) -> Kept:
        paths = (home.paths.index_file, home.paths.profiles_file, home.history_index, home.keys)
        return cls({path: path.read_bytes() for path in paths})


def forge(home: Home, path: Path) -> bytes:
    """Return what somebody could put in place of a file without a secret: well-formed, and wrong."""
    if path == home.keys:
        entry = {"key_id": "AKIAFORGED", "secret": "forged"}
        table = {"version": 1, "kind": "keys", "generation": 1, "entries": {f"key/{PROFILE}": entry}}
        return age.seal(json.dumps(table).encode(), age.identity_from(home.recovery_key).recipient)
    if path == home.paths.profiles_file:
        return b'version = 1\n[profiles.ci-deploy]\nkind = "iam-key"\nkey = "other"\n'
    table = json.loads(path.read_bytes())
    if path == home.history_index:
        table["entries"] = []
    else:
        table |= {"vault_generation": 2**60, "profiles": {}, "keys": {}, "rotations": {}}
    return json.dumps(table).encode()


FILES: dict[str, Callable[[Home], Path]] = {
    "index": lambda home: home.paths.index_file,
    "definitions": lambda home: home.paths.profiles_file,
    "history": lambda home: home.history_index,
    "keys": lambda home: home.keys,
}


@pytest.mark.parametrize(("file", "kind"), itertools.product(FILES, ["old", "forged", "foreign"]))
def test_a_replaced_file_costs_no_key(
    newcomer: Person, tmp_path_factory: pytest.TempPathFactory, file: str, kind: str
) -> None:
    home = Home(newcomer)
    path = FILES[file](home)
    old, before = Kept.of(home), key_ids(home)
    home.person.does("adopt", "personal", "--yes")
    wanted = key_ids(home)
    secrets = {
        entry["secret"] for name, entry in home.open(home.keys)["entries"].items() if name.startswith("key/")
    }
    home.person.leaves()
    if kind == "old":
        content = old.content[path]
    elif kind == "forged":
        content = forge(home, path)
    else:
        with Sandbox(tmp_path_factory.mktemp("foreign")) as sandbox:
            other = Home(Person(sandbox))
            content = FILES[file](other).read_bytes()
            other.person.leaves()
    path.write_bytes(content)

    opened = run(home, KEYTURN, "vault", "unlock", passphrase_fd=PASSPHRASE)
    if file == "keys":
        assert opened.returncode == 1
        named = "an old copy" if kind != "foreign" else "keys.age"
        assert named in opened.stderr
        does(home, KEYTURN, "vault", "restore", passphrase_fd=PASSPHRASE)
        unlock(home, KEYTURN)
        held = {key_id for key_id in wanted if key_id in all_generations(home)}
        # Only the file that was replaced held the key of the last change. The history holds it too.
        assert wanted - held <= wanted - before
        assert before <= key_ids(home)
    else:
        if opened.returncode != 0:
            assert "another identity" in opened.stderr or "old copy" in opened.stderr, opened.stderr
            home.paths.index_file.unlink()
            unlock(home, KEYTURN)
        assert key_ids(home) == wanted
    asked = run(home, KEYTURN, "credential-process", PROFILE)
    assert not [secret for secret in secrets if secret in asked.stdout + asked.stderr]
    assert asked.returncode == 0 or asked.stderr.startswith("keyturn: ")
