"""Edits of one section of a file in memory, as functions from document to bytes."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from keyturn.awsconfig.document import Document, edit
from keyturn.delivery import credentials_file
from keyturn.model.profile import Credentials
from keyturn.operations import adopt_edits
from keyturn.operations.adopt_edits import RemovedSettings


def restored(
    document: Document,
    settings: RemovedSettings,
    *,
    profile: str,
    own_key_ids: Collection[str] = (),
    replacements: Mapping[str, str] | None = None,
) -> bytes:
    """Return the file with one section as it was before the adoption."""
    return edit(
        document,
        lambda editor: adopt_edits.restore(
            editor, settings, profile=profile, own_key_ids=own_key_ids, replacements=replacements or {}
        ),
    )


def with_session(document: Document, section: str, session: Credentials) -> bytes:
    """Return the file with a session delivered to a section."""
    return edit(document, lambda editor: credentials_file.put_section(editor, section, session, ()))
