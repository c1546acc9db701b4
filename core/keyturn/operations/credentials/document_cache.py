"""Cache of credential documents, valid while the files that they depend on are unchanged.

Building a document classifies every profile and decrypts two age files, which is too slow for an agent that
is called repeatedly. A document depends on files and the clock only, so it is valid while the stat values of
these files are the same.
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
from keyturn.operations.key_delivery import hands_out_key
from keyturn.system.file_fingerprint import CachedDocument, FileFingerprint
from keyturn.vault.vault import STATE_FILES


def document(context: Context, name: str, make: Callable[[], str]) -> str:
    """Return the credential document of a profile, cached if possible. Only the agent caches documents,
    because other processes need one only once, and only those that depend on no caller.

    :param make: builds the document; its errors are raised.
    """
    if not context.serves_others or context.foreign_names:
        return make()
    cached = context.documents.get(name)
    if cached is not None and context.vault.is_unlocked and cached.is_valid(context.clock()):
        return cached.document.reveal()
    context.documents.pop(name, None)
    created, fingerprint = context.clock(), FileFingerprint.of(_files(context))
    text = make()
    if fingerprint.is_reliable():
        # The document is valid even if it cannot be cached; the next call will raise the error itself.
        with contextlib.suppress(KeyturnError, OSError):
            _store(context, name, Secret(text), created, fingerprint)
    return text


def _store(
    context: Context, name: str, text: Secret, created: datetime, fingerprint: FileFingerprint
) -> None:
    validity = _valid_until(context, name)
    if validity is not None:
        valid_until, policies = validity
        # The policies were read just before. If their last change is older than that, the content that was
        # read is current.
        fingerprint = fingerprint.with_paths(policies)
        if fingerprint.is_reliable() and fingerprint.is_unchanged():
            context.documents[name] = CachedDocument(text, created, valid_until, fingerprint)


def _valid_until(context: Context, name: str) -> tuple[datetime, tuple[str, ...]] | None:
    """Return the time until which a new document is valid, and the paths of the policy files that it depends
    on. Return None if the session is not fresh, or must not be cached.
    """
    inventory = context.read()
    definition, last_use = inventory.definitions.get(name), inventory.index.of(name).last_use
    if definition is None or last_use is None:
        return None
    valid_until = last_use + RECORD_USE_EVERY
    if not hands_out_key(context, inventory, definition):
        cached = session_cache.refresher(context, inventory).cached(name)
        if cached is None or session_state(cached.facts(), context.clock()) is not State.FRESH:
            return None
        session = cached.facts()
        if session.expires is not None:
            valid_until = min(valid_until, due_at(session.issued, session.expires))
    files = (
        definition.policy
        for definition in inventory.definitions.values()
        if definition.policy and not definition.policy.lstrip().startswith("{")
    )
    return valid_until, tuple(os.path.expanduser(file) for file in files)  # noqa: PTH111  # as role_params reads it


def _files(context: Context) -> tuple[str, ...]:
    """Return all files that a document depends on, except session policies."""
    paths = context.paths
    own = (paths.aws_config, paths.aws_credentials, paths.profiles_file, paths.index_file, paths.config_file)
    return tuple(map(str, (*own, *(paths.vault_dir / name for name in STATE_FILES))))
