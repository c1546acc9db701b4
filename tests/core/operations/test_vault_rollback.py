"""An old copy of the keys that the rotation journal alone knows to be old."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest

from keyturn.model.errors import VaultCorrupt
from keyturn.model.profile import Credentials
from keyturn.model.secret import Secret
from keyturn.operations.rotation import record_store
from keyturn.operations.rotation.record import Record, Step
from keyturn.service import CredentialService
from keyturn.vault import passphrase
from tests.core.vault import weak_age


def test_a_restore_ends_above_the_generation_that_the_journal_knows(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "KEYTURN_HOME": str(tmp_path / "keyturn")}

    def process() -> CredentialService:
        return CredentialService.from_environ(environ, use_agent=False)

    with mock.patch.object(passphrase, "seal", weak_age.seal):
        recovery_key = process().create_vault("passphrase", Secret("three small words"))
    first = process()
    first.unlock(recovery_key=recovery_key)
    vault = first.context.vault
    old = (vault.folder / "keys.age").read_bytes()
    for number in range(3):
        vault.change_keys(lambda entries, number=number: entries.update(count={"n": number}))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
    user, key = "arn:aws:iam::444455556666:user/ci", Credentials("AKIAOLD", Secret("s"))
    record_store.start(
        first.context,
        Record(
            nonce="1", profile="ci", entries=("ci",), user=user, old=key, step=Step.DONE, started=first.now()
        ),
    )
    for path in vault.folder.glob("keys*.age"):
        path.write_bytes(old)
    (vault.folder / "generation.txt").unlink()
    first.paths.index_file.unlink()

    second = process()
    with pytest.raises(VaultCorrupt, match="an old copy: generation 1, but 4 existed already"):
        second.unlock(recovery_key=recovery_key)
    messages = process().restore_vault(recovery_key=recovery_key)
    assert "Lost: 3 changes" in " ".join(messages)
    third = process()
    third.unlock(recovery_key=recovery_key)
    assert third.context.vault.generation() == 5
