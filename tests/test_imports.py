"""Modules loaded by an import, checked in a fresh interpreter: the dynamic twin of the import contracts in
pyproject.toml."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"boto3", "botocore", "keyring", "secretstorage", "pyrage", "cryptography"}
SCREEN = {"textual", "rich"}


def loaded(statement: str) -> set[str]:
    """Return the top-level modules that are loaded after `statement`."""
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize(
    ("statement", "barred"),
    [
        ("import keyturn_tui.app", HEAVY | {"keyturn_sandbox"}),
        ("import keyturn_tui.main", HEAVY | SCREEN | {"click", "keyturn_sandbox", "pathlib"}),
        ("import keyturn.cli.main", HEAVY | SCREEN | {"keyturn_tui", "keyturn_sandbox"}),
        ("import keyturn.service", HEAVY | SCREEN | {"click", "keyturn_tui", "keyturn_sandbox"}),
        ("import keyturn.agent.rpc_client", HEAVY | SCREEN | {"click", "json", "socket", "pathlib"}),
        ("import keyturn.vault.vault", HEAVY | SCREEN),
        ("import keyturn_sandbox", HEAVY | SCREEN),
    ],
)
def test_an_import_brings_no_more_than_it_should(statement: str, barred: set[str]) -> None:
    assert not loaded(statement) & barred


def test_a_list_needs_no_vault_no_aws_and_no_screen() -> None:
    statement = (
        "import os, tempfile; folder = tempfile.mkdtemp(); "
        "os.environ.update(HOME=folder, KEYTURN_HOME=folder + '/k'); "
        "from keyturn.service import CredentialService; "
        "CredentialService.from_environ(os.environ).snapshot(); os.rmdir(folder)"
    )
    assert not loaded(statement) & (HEAVY | SCREEN | {"click", "keyturn_tui", "keyturn_sandbox"})
