"""A missing vault that managed profiles need: reported, never replaced with an empty one unasked, and found
again."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest

from keyturn.model.errors import VaultCorrupt
from keyturn.model.secret import Secret
from tests.core.operations.conftest import PASSPHRASE, Bench


def _store_key(name: str, entries: dict[str, Any]) -> None:
    entries[name] = {}


def test_a_vault_that_is_gone_is_not_replaced_unasked_and_opens_again_when_it_is_back(bench: Bench) -> None:
    bench.adopt("ci-deploy")
    bench.service.context.vault.forget()
    folder = bench.service.paths.vault_dir
    away = folder.with_name("away")
    folder.rename(away)

    for operation in (
        lambda: bench.service.credential_process("ci-deploy"),
        lambda: bench.service.create_vault("passphrase", Secret("another, for nothing")),
    ):
        with pytest.raises(
            VaultCorrupt, match=r"does not exist, and ci-deploy needs its keys.*vault import FILE"
        ):
            operation()
    assert not folder.exists()

    bench.service.create_vault("passphrase", Secret("another, for now"), anew=True)
    for name in ("key/a", "key/b", "key/c"):
        bench.service.context.vault.change_keys(partial(_store_key, name))
    bench.service.unlock_here(Secret("another, for now"))
    bench.service.context.vault.forget()
    folder.rename(folder.with_name("other"))

    away.rename(folder)
    bench.service.unlock_here(PASSPHRASE)
    assert json.loads(bench.service.credential_process("ci-deploy"))["AccessKeyId"].startswith("ASIA")


def test_where_no_profile_needs_one_a_first_vault_is_made_without_a_word(bench: Bench) -> None:
    bench.service.context.vault.forget()
    bench.service.paths.vault_dir.rename(bench.service.paths.vault_dir.with_name("away"))
    assert (
        bench.service.create_vault("passphrase", Secret("another one"))
        .reveal()
        .startswith("AGE-SECRET-KEY-1")
    )
