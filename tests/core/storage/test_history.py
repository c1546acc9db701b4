"""Pre-images of the shared files: sealed without unlocking, listed without unlocking, kept as long as
promised."""

from __future__ import annotations

import json
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from keyturn.model.errors import NeedsUnlock, NeedsVault, NotFound, VaultCorrupt, VaultError, VaultNewer
from keyturn.model.secret import Secret
from keyturn.storage.history import Entry, History, select_retained
from keyturn.vault.vault import Vault
from tests.core.vault.conftest import SECRET, Sample

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CREDENTIALS = Path("/home/me/.aws/credentials")
CONFIG = Path("/home/me/.aws/config")


class MovableClock:
    """A clock that moves only when told to."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
def history(sample: Sample, tmp_path: Path, clock: MovableClock) -> History:
    """The history, sealed by a locked vault."""
    return History(tmp_path / "state" / "history", Vault(sample.folder).seal, clock)


def test_what_is_kept_without_unlocking_is_read_with_it(history: History, sample: Sample) -> None:
    data = f"[default]\r\naws_secret_access_key = {SECRET}\r\n\xff".encode("latin-1")
    history.keep(CREDENTIALS, data, "adopt ci-deploy")
    (entry,) = history.list()
    assert (entry.number, entry.at, entry.path, entry.who) == (1, START, str(CREDENTIALS), "adopt ci-deploy")
    assert entry.size == len(data)
    assert history.read(entry, sample.open_vault()) == data
    with pytest.raises(NeedsUnlock):
        history.read(entry, Vault(sample.folder))


def test_nothing_of_the_contents_is_in_clear(history: History) -> None:
    history.keep(CREDENTIALS, SECRET.encode())
    for path in history.folder.iterdir():
        assert SECRET.encode() not in path.read_bytes()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(history.folder.stat().st_mode) == 0o700


def test_without_a_vault_nothing_is_kept(tmp_path: Path, clock: MovableClock) -> None:
    history = History(tmp_path / "history", Vault(tmp_path / "vault").seal, clock)
    with pytest.raises(NeedsVault):
        history.keep(CREDENTIALS, b"x")
    assert history.list() == ()


def test_the_same_contents_are_kept_once_in_a_row_per_file(history: History) -> None:
    for data in (b"a", b"a", b"b", b"a"):
        history.keep(CREDENTIALS, data)
    history.keep(CONFIG, b"a")
    assert [(entry.number, Path(entry.path).name) for entry in history.list()] == [
        (4, "config"),
        (3, "credentials"),
        (2, "credentials"),
        (1, "credentials"),
    ]
    assert len(list(history.folder.glob("*.age"))) == 2


def test_an_empty_file_is_no_backup_over_one_that_is_not(history: History) -> None:
    history.keep(CONFIG, b"")
    history.keep(CREDENTIALS, b"[default]\n")
    history.keep(CREDENTIALS, b"")
    assert [(Path(entry.path).name, entry.size) for entry in history.list()] == [
        ("credentials", 10),
        ("config", 0),
    ]


def test_the_last_fifty_are_kept_and_copies_nobody_names_go(
    history: History, clock: MovableClock, sample: Sample
) -> None:
    for number in range(60):
        clock.now = START + timedelta(minutes=number)
        history.keep(CREDENTIALS, b"%d" % number)
    numbers = [entry.number for entry in history.list()]
    assert numbers == [*range(60, 10, -1), 1]
    assert len(list(history.folder.glob("*.age"))) == 51
    assert history.read(history.list()[-1], sample.open_vault()) == b"0"


def test_one_a_day_is_kept_for_thirty_days() -> None:
    def entry(number: int, at: datetime, path: Path = CREDENTIALS) -> Entry:
        return Entry(number, at, str(path), "", "0" * 64, 1)

    days = [
        entry(2 * day + half, START + timedelta(days=day, hours=half)) for day in range(40) for half in (0, 1)
    ]
    now = START + timedelta(days=40)
    many = [entry(1000 + number, now) for number in range(50)]
    retained = select_retained((*days, *many), now)
    assert [each.number for each in retained[:-50]] == [2 * day for day in range(11, 40)]
    assert list(retained[-50:]) == many


def test_a_clock_that_went_back_costs_nothing(history: History, clock: MovableClock) -> None:
    history.keep(CREDENTIALS, b"first")
    clock.now = START - timedelta(days=400)
    history.keep(CREDENTIALS, b"second")
    assert [entry.number for entry in history.list()] == [2, 1]


def test_numbers_are_never_used_twice(history: History, clock: MovableClock) -> None:
    for number in range(55):
        clock.now = START + timedelta(minutes=number)
        history.keep(CREDENTIALS, b"%d" % number)
    index = json.loads((history.folder / "index.json").read_text())
    assert index["next"] == 56


def test_a_damaged_copy_is_corrupt_and_a_missing_one_not_found(history: History, sample: Sample) -> None:
    history.keep(CREDENTIALS, b"first")
    history.keep(CREDENTIALS, b"second")
    second, first = history.list()
    copy = history.folder / f"{second.digest}.age"
    whole = copy.read_bytes()
    copy.write_bytes(whole[:-1])
    with pytest.raises(VaultCorrupt):
        history.read(second, sample.open_vault())
    copy.write_bytes((history.folder / f"{first.digest}.age").read_bytes())
    with pytest.raises(VaultCorrupt, match="does not match its digest"):
        history.read(second, sample.open_vault())
    copy.unlink()
    with pytest.raises(NotFound):
        history.read(second, sample.open_vault())


def _index(**wrong: object) -> bytes:
    """Return an index with one entry, valid except for `wrong`."""
    entry: dict[str, object] = {
        "number": 1,
        "at": START.isoformat(),
        "path": "/f",
        "who": "",
        "digest": "0" * 64,
    }
    return json.dumps({"version": 1, "next": 9, "entries": [entry | {"size": 1} | wrong]}).encode()


DAMAGED = [
    b"",
    b"{}",
    b"[]",
    b"\xff",
    b"[" * 100_000,
    b'{"version":1,"next":2,"entries":[{"number":1}]}',
    b'{"version":1,"next":1,"entries":[5]}',
    b'{"version":1,"next":"1","entries":[]}',
    _index(at="2026-01-01T00:00:00"),
    _index(digest="../../etc/passwd"),
    _index(size="5"),
    _index(number=9),
    _index(path=None),
]


@pytest.mark.parametrize("index", DAMAGED)
def test_a_damaged_index_is_typed_and_moved_aside_and_no_copy_is_lost(history: History, index: bytes) -> None:
    history.keep(CREDENTIALS, b"first")
    (history.folder / "index.json").write_bytes(index)
    with pytest.raises(VaultCorrupt):
        history.list()
    history.keep(CREDENTIALS, b"second")
    assert [entry.size for entry in history.list()] == [6]
    assert (history.folder / "index.damaged-1.json").read_bytes() == index
    assert len(list(history.folder.glob("*.age"))) == 2


def test_the_index_of_a_later_keyturn_is_not_written_over(history: History) -> None:
    history.keep(CREDENTIALS, b"first")
    later = b'{"version":2}'
    (history.folder / "index.json").write_bytes(later)
    with pytest.raises(VaultNewer):
        history.keep(CREDENTIALS, b"second")
    assert (history.folder / "index.json").read_bytes() == later


def test_a_copy_that_cannot_be_written_stops_the_change(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    history.keep(CREDENTIALS, b"first")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(VaultError, match="No space left"):
        history.keep(CREDENTIALS, b"second")
    monkeypatch.undo()
    assert [entry.number for entry in history.list()] == [1]


def test_threads_that_keep_at_once_lose_nothing(history: History) -> None:
    def keep(worker: int) -> None:
        for number in range(5):
            history.keep(Path(f"/file-{worker}"), b"%d" % number)

    threads = [threading.Thread(target=keep, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(entry.number for entry in history.list()) == list(range(1, 21))


def test_a_recipient_that_was_replaced_does_not_outlive_the_next_unlock(sample: Sample) -> None:
    """Sealing without the identity trusts `recipient.txt`; unlocking detects a wrong one."""
    vault = Vault(sample.folder)
    assert vault.recipient() == sample.open_vault().recipient()
    (sample.folder / "recipient.txt").write_text("age1" + "q" * 58 + "\n")
    with pytest.raises(VaultCorrupt):
        vault.seal(b"x")
    with pytest.raises(VaultCorrupt):
        vault.unlock(recovery_key=Secret(sample.recovery_key.reveal()))
