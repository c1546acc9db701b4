"""Plain age: another implementation opens files that keyturn seals, and keyturn opens its files."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.core.vault.conftest import SECRET, Sample
from tests.support.needs import needs


def _identity_file(sample: Sample, folder: Path) -> Path:
    path = folder / "identity.txt"
    path.write_text(sample.recovery_key.reveal() + "\n")
    return path


def test_age_opens_the_keys_with_the_recovery_key(sample: Sample, tmp_path: Path) -> None:
    age = needs("age")
    identity = _identity_file(sample, tmp_path)
    done = subprocess.run(
        [age, "-d", "-i", identity, sample.folder / "keys.age"], capture_output=True, check=True
    )
    document = json.loads(done.stdout)
    assert document["entries"] == {"deploy": {"secret": SECRET}}
    assert (document["version"], document["kind"], document["generation"]) == (1, "keys", 2)


def test_age_seals_to_the_vault_by_its_recipients_file(sample: Sample) -> None:
    age = needs("age")
    command = [age, "-R", str(sample.folder / "recipient.txt")]
    done = subprocess.run(command, input=b"from age", capture_output=True, check=True)
    assert sample.open_vault().open(done.stdout) == b"from age"


def test_age_opens_what_was_sealed_without_the_identity(sample: Sample, tmp_path: Path) -> None:
    age = needs("age")
    from keyturn.vault.vault import Vault

    sealed = Vault(sample.folder).seal(b"pre-image")
    command = [age, "-d", "-i", str(_identity_file(sample, tmp_path))]
    assert subprocess.run(command, input=sealed, capture_output=True, check=True).stdout == b"pre-image"
