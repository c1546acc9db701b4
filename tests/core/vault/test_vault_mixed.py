"""Vault files that are cut, joined, swapped, mixed with another vault's and restored from backups: detected
or harmless; never another exception, never another vault's contents, never overwritten."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keyturn.model.errors import VaultCorrupt, WrongPassphrase
from keyturn.model.secret import Secret
from keyturn.vault import age, create, files
from keyturn.vault import passphrase as unseal
from keyturn.vault.create import read_export
from keyturn.vault.vault import Vault
from tests.core.vault import weak_age
from tests.core.vault.conftest import PASSPHRASE, MemoryKeyring, Sample, fill

FILES = ("recipient.txt", "identity.age", "keys.age", "keys.1.age", "sessions.age")
JOURNEY = Secret("for the journey")


def _open_here(
    op: bytes, passphrase: Secret, data: bytes, what: str, cancelled: object = None
) -> tuple[bytes, bytes]:
    """Do the child's work without a child, for files that cost almost no work."""
    del what, cancelled
    secret = passphrase.reveal().encode()
    answer = unseal._handle(op + len(secret).to_bytes(4, "big") + secret + data)
    return answer[:1], answer[1:]


@pytest.fixture(autouse=True)
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unseal, "seal", weak_age.seal)
    monkeypatch.setattr(unseal, "_ask", _open_here)


@pytest.fixture
def vaults(tmp_path: Path) -> tuple[Sample, Sample]:
    """Two vaults of the same structure, with different contents, identities and passphrases."""
    homes = []
    for name in ("ours", "theirs"):
        vault = Vault(tmp_path / name / "vault", MemoryKeyring())
        key = vault.create("passphrase", Secret(f"{PASSPHRASE} {name}"))
        fill(vault)
        vault.change_keys(lambda entries, name=name: entries.update(whose={"name": name}))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
        homes.append(Sample(vault.folder, key))
    return homes[0], homes[1]


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "lock"}


def _unlock_functions(owner: str, sample: Sample) -> Iterator[Callable[[Vault], object]]:
    yield lambda vault: vault.unlock(recovery_key=sample.recovery_key)
    yield lambda vault: vault.unlock(passphrase=Secret(f"{PASSPHRASE} {owner}"))


def _count_refusal(folder: Path, unlock: Callable[[Vault], object], owner: str) -> int:
    """Return 1 if the vault in `folder` is refused; 0 if it opens with the contents of the vault `whose`.
    Fail for any other result, or if a refused vault is written to."""
    before = _contents(folder)
    vault = Vault(folder)
    try:
        unlock(vault)
        assert vault.key("whose") in ({"name": owner}, None)
        assert vault.session("prod") in ({"token": "session token"}, None)
        vault.change_keys(lambda entries: entries.update(on={"whose": owner}))
    except (VaultCorrupt, WrongPassphrase):
        assert _contents(folder) == before
        return 1
    assert vault.key("on") == {"whose": owner}
    return 0


def test_files_of_two_vaults_mixed_open_as_one_or_not_at_all(
    vaults: tuple[Sample, Sample], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    ours, theirs = vaults
    noticed, runs = 0, 0
    for mask in itertools.product((False, True), repeat=len(FILES)):
        for owner, sample in (("ours", ours), ("theirs", theirs)):
            for unlock in _unlock_functions(owner, sample):
                folder = tmp_path / f"mixed-{runs}"
                shutil.copytree(ours.folder, folder)
                for file, foreign in zip(FILES, mask, strict=True):
                    if foreign:
                        shutil.copy(theirs.folder / file, folder / file)
                noticed += _count_refusal(folder, unlock, owner)
                runs += 1
    assert runs == 128
    assert 128 > noticed > 64
    record_property("vault: two vaults mixed", runs)


def _with_extra_bytes(data: bytes) -> Iterator[bytes]:
    """Yield the file with bytes before it, after it and inside it."""
    for more in (b"\0", b"\n", b"A" * 16, bytes(65536), data):
        yield data + more
        yield more + data
    for at in range(1, len(data), max(1, len(data) // 40)):
        yield data[:at] + b"\0" + data[at:]
        yield data[:at] + data[at + 1 :]
        yield data[at:] + data[:at]


@pytest.mark.parametrize("file", ["recipient.txt", "identity.age", "keys.age"])
def test_bytes_added_taken_out_or_turned_round_are_noticed(vaults: tuple[Sample, Sample], file: str) -> None:
    ours, _ = vaults
    path = ours.folder / file
    whole = path.read_bytes()
    for variant in _with_extra_bytes(whole):
        path.write_bytes(variant)
        for unlock in (list(_unlock_functions("ours", ours))[file == "identity.age"],):
            assert _count_refusal(ours.folder, unlock, "ours") == 1, variant[:80]
    path.write_bytes(whole)


def _parts(data: bytes) -> tuple[bytes, list[bytes], bytes, bytes]:
    """Split an age file into its first line, its stanzas, its last header line, and its payload."""
    head, _, rest = data.partition(b"\n--- ")
    mac, _, body = rest.partition(b"\n")
    version, *stanzas = head.split(b"\n-> ")
    return version, stanzas, mac, body


def _joined(version: bytes, stanzas: list[bytes], mac: bytes, body: bytes) -> bytes:
    return b"\n-> ".join((version, *stanzas)) + b"\n--- " + mac + b"\n" + body


def test_stanzas_and_payloads_of_other_files_do_not_fit(vaults: tuple[Sample, Sample]) -> None:
    """Each file has its own file key, whose MAC protects the header."""
    ours, theirs = vaults
    path = ours.folder / "keys.age"
    version, stanzas, mac, body = _parts(path.read_bytes())
    _, older, older_mac, older_body = _parts((ours.folder / "keys.1.age").read_bytes())
    _, foreign, foreign_mac, foreign_body = _parts((theirs.folder / "keys.age").read_bytes())
    variants = [
        _joined(version, stanzas, mac, older_body),
        _joined(version, older, mac, body),
        _joined(version, older, older_mac, body),
        _joined(version, foreign, foreign_mac, body),
        _joined(version, [*foreign, *stanzas], mac, body),
        _joined(version, [*stanzas, *foreign], mac, body),
        _joined(version, stanzas * 2, mac, body),
        _joined(version, stanzas, foreign_mac, foreign_body),
        _joined(version, [], mac, body),
        _joined(version, [b"-> scrypt " + bytes(22).hex().encode() + b" 30", *stanzas], mac, body),
    ]
    if len(stanzas) > 1:
        variants += [_joined(version, stanzas[::-1], mac, body), _joined(version, stanzas[:1], mac, body)]
    for variant in variants:
        path.write_bytes(variant)
        with pytest.raises(VaultCorrupt):
            ours.open_vault().key_names()
        assert path.read_bytes() == variant


def test_generations_swapped_or_rolled_back_are_noticed_and_brought_in_order(
    vaults: tuple[Sample, Sample], tmp_path: Path
) -> None:
    ours, _ = vaults
    vault = ours.open_vault()
    for number in range(4):
        vault.change_keys(lambda entries, number=number: entries.update(count={"n": number}))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
    known = vault.generation()
    for first, second in itertools.permutations(range(6), 2):
        folder = tmp_path / f"swapped-{first}-{second}"
        shutil.copytree(ours.folder, folder)
        shutil.copy(files.generation_path(ours.folder, second), files.generation_path(folder, first))
        if first < second:
            shutil.copy(files.generation_path(ours.folder, first), files.generation_path(folder, second))
        again = Vault(folder, expected_generation=lambda: known)
        again.unlock(recovery_key=ours.recovery_key)
        if first == 0:
            before = _contents(folder)
            with pytest.raises(VaultCorrupt, match="old copy"):
                again.key_names()
            with pytest.raises(VaultCorrupt, match="old copy"):
                again.change_keys(lambda entries: entries.clear())
            assert _contents(folder) == before
            restored = again.restore_newest_good()
            assert restored is not None
            assert restored.origin == (known if first < second else known - 1)
            assert again.key("count") == {"n": 3 if restored.origin == known else 2}
        else:
            assert again.key("count") == {"n": 3}
            assert again.restore_newest_good() is None


# The export and the older generations, bit by bit.


def _variants(data: bytes) -> list[bytes]:
    flips = []
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        flips.append(bytes(flipped))
    return flips + [data[:length] for length in range(len(data))]


def _check_exports_refused(sample: Sample, folder: Path, every: int) -> int:
    identity = age.identity_from(sample.recovery_key)
    exported = create.write_export(identity, sample.open_vault()._keys(), "version = 1\n", JOURNEY)
    copy = Vault(folder / "copy" / "vault")
    variants = _variants(exported)[::every]
    for variant in variants:
        with pytest.raises((VaultCorrupt, WrongPassphrase)):
            copy.import_export(read_export(variant, JOURNEY), "passphrase", Secret("x"))
        assert not copy.folder.parent.exists()
    copy.import_export(read_export(exported, JOURNEY), "passphrase", Secret("x"))
    return len(variants)


def test_a_flipped_or_cut_export_makes_nothing(vaults: tuple[Sample, Sample], tmp_path: Path) -> None:
    """If the flip is in the header's key, age reports a wrong passphrase; neither error creates anything."""
    _check_exports_refused(vaults[0], tmp_path, 41)


@pytest.mark.campaign
@pytest.mark.timeout(600)
def test_every_flipped_or_cut_export_makes_nothing(
    vaults: tuple[Sample, Sample], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    runs = _check_exports_refused(vaults[0], tmp_path, 1)
    record_property("vault: flips and truncations", runs)
    record_property("vault: noticed", runs)


def _check_damaged_generations_are_skipped(sample: Sample, every: int) -> int:
    """Check that restore skips a damaged `keys.1.age` when `keys.age` is missing, and uses the generation
    before."""
    sample.open_vault().change_keys(lambda entries: entries.update(more={}))
    (sample.folder / "keys.age").unlink()
    path = sample.folder / "keys.1.age"
    variants = _variants(path.read_bytes())[::every]
    identity = age.identity_from(sample.recovery_key)
    for variant in variants:
        path.write_bytes(variant)
        assert [file.name for file, _ in files.readable_generations(sample.folder, identity)] == [
            "keys.2.age",
            "keys.3.age",
        ]
        assert path.read_bytes() == variant
    restored = sample.open_vault().restore_newest_good()
    assert restored is not None
    assert restored.file == "keys.2.age"
    return len(variants)


def test_a_damaged_older_generation_is_passed_over(vaults: tuple[Sample, Sample]) -> None:
    _check_damaged_generations_are_skipped(vaults[0], 41)


@pytest.mark.campaign
@pytest.mark.timeout(600)
def test_every_damaged_older_generation_is_passed_over(
    vaults: tuple[Sample, Sample], record_property: Callable[[str, object], None]
) -> None:
    runs = _check_damaged_generations_are_skipped(vaults[0], 1)
    record_property("vault: flips and truncations", runs)
    record_property("vault: noticed", runs)
