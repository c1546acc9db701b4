"""Stop an operation before it changes anything, if it would have to write a file of a later keyturn.

Such a file is never written. The index protects the vault and the sessions: it names the vault, and it lists
what was stopped and what lies in plaintext in the credentials file. So an operation that puts something there
does not start without it. Credentials are handed out all the same.
"""

from __future__ import annotations

import contextlib

from keyturn.model.errors import UPGRADE, ChangeRefused, KeyturnError, VaultCorrupt, VaultNewer, newer_file
from keyturn.operations.context import Context
from keyturn.storage import index
from keyturn.storage.history import History


def require_index(context: Context, what: str) -> None:
    """Check that this version may write the index.

    :param what: the failure if it may not ("Could not set ci-deploy").
    :raises ChangeRefused: if a later keyturn wrote it.
    """
    version = context.index.load().version
    if version > index.VERSION:
        raise _refusal(
            what, newer_file(context.paths.display(context.paths.index_file), version, index.VERSION)
        )


def require_history(context: Context, what: str) -> None:
    """Check that this version may add a shared file's content to the history. A damaged history is replaced
    when that happens.

    :raises ChangeRefused: if a later keyturn wrote it.
    """
    try:
        with contextlib.suppress(VaultCorrupt):
            History(context.paths.history_dir, context.vault.seal, context.clock).list()
    except VaultNewer as error:
        raise _refusal(what, error) from None


def require_index_and_history(context: Context, what: str) -> None:
    """Check both, for an operation that edits a shared file and records it."""
    require_index(context, what)
    require_history(context, what)


def _refusal(what: str, error: KeyturnError) -> ChangeRefused:
    return ChangeRefused(what, f"{error.what} was {error.why}", UPGRADE)
