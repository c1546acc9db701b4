"""Display, copies and failures never reveal a secret."""

from __future__ import annotations

import copy
import pickle
import traceback
from collections.abc import Iterator

import pytest

from keyturn.model.errors import KeyturnError, VaultCorrupt
from keyturn.model.secret import Secret
from keyturn.vault import age, documents
from keyturn.vault.create import SlotChoice
from tests.core.vault.conftest import PASSPHRASE, SECRET, Sample


def _canaries(sample: Sample) -> tuple[str, ...]:
    return (SECRET, sample.recovery_key.reveal(), PASSPHRASE)


def test_an_open_vault_shows_nothing(sample: Sample) -> None:
    vault = sample.open_vault()
    identity = age.identity_from(sample.recovery_key)
    document = documents.Document(
        documents.KEYS, 1, {"deploy": {"secret": SECRET}}, sample.recovery_key.reveal()
    )
    slot = SlotChoice("passphrase", Secret(PASSPHRASE), None)
    for thing in (vault, identity, document, slot, vars(vault)):
        for text in (repr(thing), str(thing), f"{thing}"):
            assert not any(canary in text for canary in _canaries(sample))


@pytest.mark.parametrize("copied", [pickle.dumps, copy.copy, copy.deepcopy])
def test_an_identity_cannot_be_copied_or_pickled(sample: Sample, copied: object) -> None:
    assert callable(copied)
    with pytest.raises(TypeError):
        copied(age.identity_from(sample.recovery_key))


def test_an_open_vault_cannot_be_pickled(sample: Sample) -> None:
    with pytest.raises(TypeError):
        pickle.dumps(sample.open_vault())


def test_nothing_on_disk_is_in_clear(sample: Sample) -> None:
    for path in sample.folder.iterdir():
        content = path.read_bytes()
        assert not any(
            canary.encode() in content for canary in (*_canaries(sample), "session token", "deploy")
        )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize(
    "plain",
    [
        f'{{"secret": "{SECRET}"',
        f'{{"version": 1, "kind": "keys", "generation": 1, "entries": "{SECRET}"}}',
        f'"{SECRET}\udcff"',
    ],
)
def test_an_error_over_an_opened_document_carries_none_of_it(sample: Sample, plain: str) -> None:
    data = plain.encode("utf-8", "surrogateescape")
    identity = age.identity_from(sample.recovery_key)
    (sample.folder / "keys.age").write_bytes(age.seal(data, identity.recipient))
    with pytest.raises(VaultCorrupt) as excinfo:
        sample.open_vault().key("deploy")
    for error in _chain(excinfo.value):
        text = f"{error!r} {error} {error.args} {vars(error)} {''.join(traceback.format_exception(error))}"
        assert SECRET not in text


def test_a_mistyped_recovery_key_is_not_repeated(sample: Sample) -> None:
    right = sample.recovery_key.reveal()
    typed = right[:-1] + ("P" if right.endswith("Q") else "Q")
    with pytest.raises(KeyturnError) as excinfo:
        age.identity_from(Secret(typed))
    for error in _chain(excinfo.value):
        assert typed[20:40] not in f"{error!r} {error} {error.args}"


def test_hostile_text_in_a_folder_s_name_is_harmless_in_an_error() -> None:
    error = VaultCorrupt("keys.age in /tmp/\x1b]0;x\x07", "damaged")
    assert error.line().isprintable()
