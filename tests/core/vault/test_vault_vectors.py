"""Vaults are kept forever: this keyturn and the independent `age` program open the files of earlier versions.

`vectors/FORMAT` holds a vault, its recovery key and its export; the identity was made for tests alone. A
released format is never made again, and never removed.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from keyturn.model.secret import Secret
from keyturn.vault import files, passphrase
from keyturn.vault.create import read_export
from keyturn.vault.vault import Vault
from tests.core.vault.age_program import run_age
from tests.core.vault.conftest import MemoryKeyring
from tests.support.needs import needs

VECTORS = Path(__file__).with_name("vectors")
FORMATS = sorted(path.name for path in VECTORS.iterdir() if path.is_dir())
PASSPHRASE = Secret("for tests only")
KEY = {"key_id": "AKIAIOSFODNN7EXAMPLE", "secret": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}


def test_the_format_of_today_is_kept() -> None:
    assert f"format-{files.RECIPIENT_FORMAT}" in FORMATS


@pytest.fixture(params=FORMATS)
def vector(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a copy of a vector, private as a vault is."""
    folder = Path(shutil.copytree(VECTORS / request.param, tmp_path / "kept", symlinks=True))
    (folder / "vault").chmod(0o700)
    return folder


def _recovery_key(vector: Path) -> Secret:
    return Secret((vector / "identity-for-tests.txt").read_text().strip())


def test_the_recovery_key_opens_it_and_it_goes_on(vector: Path) -> None:
    vault = Vault(vector / "vault", expected_generation=lambda: 3)
    vault.unlock(recovery_key=_recovery_key(vector))
    assert vault.key("key/ci") == KEY
    assert vault.session("ci") == {"key_id": "ASIAIOSFODNN7EXAMPLE"}
    assert (vault.generation(), vault.slots()) == (3, ("passphrase",))
    assert vault.change_keys(lambda entries: entries.update(new={})) == 4
    (vector / "vault" / "keys.age").unlink()
    restored = vault.restore_newest_good()
    assert restored is not None
    assert restored.origin == 3
    assert vault.key("key/ci") == KEY


def test_the_passphrase_opens_it(vector: Path) -> None:
    vault = Vault(vector / "vault")
    vault.unlock(passphrase=PASSPHRASE)
    assert vault.recovery_key() == _recovery_key(vector)


def test_the_age_program_opens_every_file_of_it(vector: Path) -> None:
    age = needs("age")
    for file, kind in (("keys.age", "keys"), ("keys.1.age", "keys"), ("sessions.age", "sessions")):
        command = [age, "-d", "-i", str(vector / "identity-for-tests.txt"), str(vector / "vault" / file)]
        opened = subprocess.run(command, capture_output=True, check=True)
        assert json.loads(opened.stdout)["kind"] == kind


@pytest.mark.campaign
def test_the_age_program_opens_its_passphrase_files(vector: Path) -> None:
    shown = run_age(PASSPHRASE.reveal(), "-d", str(vector / "vault" / "identity.age"))
    assert _recovery_key(vector).reveal().encode() in shown
    out = vector / "export.json"
    run_age(PASSPHRASE.reveal(), "-d", "-o", str(out), str(vector / "export.age"))
    export = json.loads(out.read_bytes())
    assert export["entries"]["key/ci"] == KEY
    assert export["identity"] == _recovery_key(vector).reveal()
    assert "[profiles.ci]" in export["definitions"]


@pytest.mark.campaign
def test_its_export_is_taken(vector: Path) -> None:
    vault = Vault(vector / "second" / "vault", MemoryKeyring())
    export = read_export((vector / "export.age").read_bytes(), PASSPHRASE)
    vault.import_export(export, "keyring")
    assert vault.key("key/ci") == KEY
    assert export.definitions is not None
    assert "[profiles.ci]" in export.definitions


@pytest.mark.campaign
def test_what_the_age_program_sealed_by_a_passphrase_opens(tmp_path: Path) -> None:
    """So does an export that a user opened, edited and sealed again."""
    plain, sealed = tmp_path / "plain", tmp_path / "sealed.age"
    plain.write_bytes(b"sealed by age")
    run_age(PASSPHRASE.reveal(), "-p", "-o", str(sealed), str(plain))
    assert passphrase.unseal(sealed.read_bytes(), PASSPHRASE, "sealed.age") == b"sealed by age"
