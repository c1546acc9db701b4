"""Documents that were made a moment ago, for as long as nothing that they rest on has changed.

Making one reads and classifies every profile, and opens two age files; an agent that is asked again and again would do
so each time. A document rests on files and the clock alone: while every such file has the status that it had before the
document was made, making it again would give the same.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from datetime import datetime

from keyturn.model.errors import KeyturnError
from keyturn.model.profile import State, due_at, session_state
from keyturn.model.secret import Secret
from keyturn.operations.context import Context
from keyturn.operations.credentials import session_cache
from keyturn.operations.credentials.refresh import RECORD_USE_EVERY
from keyturn.system.file_fingerprint import CachedDocument, FileFingerprint
from keyturn.vault.vault import STATE_FILES


def document(context: Context, name: str, make: Callable[[], str]) -> str:
    """What `make` gives for a profile, or gave. Only the agent keeps it: other processes ask once and end.

    :param make: :func:`keyturn.operations.credentials.refresh.document`, wherever it is done; its errors come through.
    """
    if not context.serves_others:
        return make()
    cached = context.documents.get(name)
    if cached is not None and context.vault.is_unlocked and cached.is_valid(context.clock()):
        return cached.document.reveal()
    context.documents.pop(name, None)
    created, fingerprint = context.clock(), FileFingerprint.of(_files(context))
    text = make()
    if fingerprint.is_reliable():
        # What fails here fails the next caller in its own words; this one has an answer.
        with contextlib.suppress(KeyturnError, OSError):
            _store(context, name, Secret(text), created, fingerprint)
    return text


def _store(
    context: Context, name: str, text: Secret, created: datetime, fingerprint: FileFingerprint
) -> None:
    validity = _valid_until(context, name)
    if validity is not None:
        valid_until, policies = validity
        # They were read a moment ago: one that has not changed since well before that was read as it is.
        fingerprint = fingerprint.with_paths(policies)
        if fingerprint.is_reliable() and fingerprint.is_unchanged():
            context.documents[name] = CachedDocument(text, created, valid_until, fingerprint)


def _valid_until(context: Context, name: str) -> tuple[datetime, tuple[str, ...]] | None:
    """Until when what was just made is the document to give, and the policy files that it rests on; None for one that is
    not fresh, or is to be made anew each time."""
    inventory = context.read()
    definition, last_use = inventory.definitions.get(name), inventory.index.of(name).last_use
    if definition is None or last_use is None:
        return None
    valid_until = last_use + RECORD_USE_EVERY
    if not definition.delivers_key:
        cached = session_cache.refresher(context, inventory).cached(name)
        if cached is None or session_state(cached.facts(), context.clock()) is not State.FRESH:
            return None
        session = cached.facts()
        if session.expires is not None:
            valid_until = min(valid_until, due_at(session.issued, session.expires))
    policies = (definition.policy for definition in inventory.definitions.values() if definition.policy)
    files = (policy for policy in policies if not policy.lstrip().startswith("{"))
    return valid_until, tuple(os.path.expanduser(file) for file in files)  # noqa: PTH111  # as assume_role reads it


def _files(context: Context) -> tuple[str, ...]:
    """Every file that a document rests on, but for session policies."""
    paths = context.paths
    own = (
        paths.aws_config,
        paths.aws_credentials,
        paths.profiles_file,
        paths.index_file,
        paths.config_file,
    )
    return tuple(map(str, (*own, *(paths.vault_dir / name for name in STATE_FILES))))
