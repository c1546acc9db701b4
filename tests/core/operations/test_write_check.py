"""Operations next to files of a later keyturn."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from keyturn.model.errors import ChangeRefused, KeyturnError, VaultNewer
from keyturn.operations import vault as vault_operations
from keyturn.operations import write_check
from keyturn.operations.context import Context
from keyturn.service import CredentialService

Check = Callable[[Context, str], None]


@pytest.fixture
def context(tmp_path: Path) -> Context:
    environ = {"HOME": str(tmp_path), "KEYTURN_HOME": str(tmp_path / "keyturn")}
    context = CredentialService.from_environ(environ, use_agent=False).context
    for folder in (context.paths.state_dir, context.paths.history_dir, context.paths.vault_dir):
        folder.mkdir(parents=True, mode=0o700)
    return context


def index_of(context: Context) -> Path:
    return context.paths.index_file


def history_of(context: Context) -> Path:
    return context.paths.history_dir / "index.json"


FILES = pytest.mark.parametrize(
    ("path", "check"),
    [(index_of, write_check.require_index), (history_of, write_check.require_history)],
    ids=["index", "history"],
)


@FILES
@pytest.mark.parametrize(
    "content",
    [
        b'{"version": 2}',
        b'{"version": 2, "entries": 7, "profiles": 7}',
        b'{"version": 900719925474099200, "profiles": {}, "keys": {}}',
    ],
)
def test_a_newer_file_stops_an_operation(
    context: Context, path: Callable[[Context], Path], check: Check, content: bytes
) -> None:
    path(context).write_bytes(content)
    with pytest.raises(ChangeRefused, match=r"was written by a newer keyturn \(version ") as refused:
        check(context, "Could not set ci")
    assert refused.value.what == "Could not set ci"
    assert refused.value.line().endswith("this one supports 1). Upgrade keyturn")
    assert path(context).read_bytes() == content


@FILES
@pytest.mark.parametrize("version", ["0", "1", "true", "null", '"2"', "1.5", "[2]"])
def test_no_other_file_stops_an_operation(
    context: Context, path: Callable[[Context], Path], check: Check, version: str
) -> None:
    check(context, "Could not set ci")
    for content in (f'{{"version": {version}}}', version, ""):
        path(context).write_text(content)
        check(context, "Could not set ci")
        assert path(context).read_text() == content


def test_a_failure_that_a_newer_index_cannot_hold_is_logged_once_in_a_row(context: Context) -> None:
    """Otherwise the agent would log one at each renewal."""
    index_of(context).write_text(json.dumps({"version": 2}))
    for _ in range(3):
        context.record_failure("ci", "renew", KeyturnError("Could not refresh ci", "no \x1b[31mway"))
    context.record_failure("ci", "renew", KeyturnError("Could not refresh ci", "another"))
    assert len(list(context.activity.read())) == 2


def test_a_newer_vault_is_named_where_the_vault_is_needed(context: Context) -> None:
    from tests.core.vault.recipient_notes import checked

    header = "# keyturn vault, format 2\n# everything is different\n"
    (context.paths.vault_dir / "recipient.txt").write_bytes(checked(header, "elsewhere\n"))
    error = vault_operations.locked_error(context, context.vault.state())
    assert isinstance(error, VaultNewer)
    assert "written by a newer keyturn (format 2" in error.line()
