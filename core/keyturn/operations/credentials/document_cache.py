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
from keyturn.operations.credentials.refresh import ASKED_EVERY
from keyturn.system.file_fingerprint import CachedDocument, FileFingerprint
from keyturn.vault.vault import RESTS_ON


def document(desk: Context, name: str, make: Callable[[], str]) -> str:
    """What `make` gives for a profile, or gave. Only the agent keeps it: other processes ask once and end.

    :param make: :func:`keyturn.operations.credentials.refresh.document`, wherever it is done; its errors come through.
    """
    if not desk.serves_others:
        return make()
    kept = desk.ready.get(name)
    if kept is not None and desk.vault.is_held and kept.is_good(desk.clock()):
        return kept.document.reveal()
    desk.ready.pop(name, None)
    made, ground = desk.clock(), FileFingerprint.of(_files(desk))
    text = make()
    if ground.is_settled():
        # What fails here fails the next caller in its own words; this one has an answer.
        with contextlib.suppress(KeyturnError, OSError):
            _keep(desk, name, Secret(text), made, ground)
    return text


def _keep(desk: Context, name: str, text: Secret, made: datetime, ground: FileFingerprint) -> None:
    found = _until(desk, name)
    if found is not None:
        until, policies = found
        # They were read a moment ago: one that has not changed since well before that was read as it is.
        ground = ground.with_also(policies)
        if ground.is_settled() and ground.stands():
            desk.ready[name] = CachedDocument(text, made, until, ground)


def _until(desk: Context, name: str) -> tuple[datetime, tuple[str, ...]] | None:
    """Until when what was just made is the document to give, and the policy files that it rests on; None for one that is
    not fresh, or is to be made anew each time."""
    reading = desk.read()
    definition, asked = reading.definitions.get(name), reading.index.of(name).asked
    if definition is None or asked is None:
        return None
    until = asked + ASKED_EVERY
    if not definition.delivers_key:
        cached = session_cache.refresher(desk, reading).cached(name)
        if cached is None or session_state(cached.facts(), desk.clock()) is not State.FRESH:
            return None
        session = cached.facts()
        if session.expires is not None:
            until = min(until, due_at(session.issued, session.expires))
    texts = (one.policy for one in reading.definitions.values() if one.policy)
    return until, tuple(os.path.expanduser(text) for text in texts if not text.lstrip().startswith("{"))  # noqa: PTH111 - as it is read


def _files(desk: Context) -> tuple[str, ...]:
    """Every file that a document rests on, but for session policies."""
    places = desk.places
    own = (
        places.aws_config,
        places.aws_credentials,
        places.profiles_file,
        places.index_file,
        places.config_file,
    )
    return tuple(map(str, (*own, *(places.vault_dir / name for name in RESTS_ON))))
