"""A missing vault that managed profiles need: reported, never replaced with an empty one unasked, and found
again."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
from click.testing import CliRunner

from keyturn.cli.vault import vault
from keyturn.model.errors import KeyturnError, VaultCorrupt
from keyturn.model.profile import Delivery
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


def test_a_profile_whose_vault_and_definition_are_on_another_machine_names_the_import(bench: Bench) -> None:
    """Only the shared files were copied to this one."""
    bench.adopt("ci-deploy")
    bench.service.context.vault.forget()
    bench.service.paths.vault_dir.rename(bench.service.paths.vault_dir.with_name("away"))
    bench.service.paths.profiles_file.unlink()
    for operation in (
        lambda: bench.service.set("ci-deploy", {"renew": "manual"}),
        lambda: bench.service.deliver("ci-deploy", Delivery.CREDENTIALS_FILE),
    ):
        with pytest.raises(KeyturnError) as excinfo:
            operation()
        assert "vault import FILE" in excinfo.value.line()


@pytest.mark.parametrize("command", ["unlock", "status"])
def test_the_vault_commands_name_the_profiles_that_need_a_missing_vault(bench: Bench, command: str) -> None:
    bench.adopt("ci-deploy")
    bench.service.context.vault.forget()
    bench.service.paths.vault_dir.rename(bench.service.paths.vault_dir.with_name("away"))
    done = CliRunner().invoke(vault, [command])
    told = done.exception.line() if isinstance(done.exception, KeyturnError) else done.output
    assert "ci-deploy needs its keys" in told
    assert "vault import FILE" in told
    assert "no vault yet" not in told.lower()
