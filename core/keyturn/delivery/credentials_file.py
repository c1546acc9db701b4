"""Delivery to the shared credentials file, for tools that support nothing else: temporary keys with their
expiry."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import datetime

from keyturn.awsconfig.document import Document, Editor
from keyturn.model.errors import ChangeRefused, UsageError
from keyturn.model.key_ids import is_temporary
from keyturn.model.profile import Credentials
from keyturn.model.text import from_iso, iso

#: Settings that a delivery writes and a withdrawal removes.
KEYS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token", "aws_expiration")
#: Settings that hold a credential. Foreign ones in the same section would hide a delivered session or be
#: hidden by it.
_FOREIGN = (*KEYS, "aws_security_token")
_PORTABLE = re.compile(r"(?!profile |sso-session |services )[A-Za-z0-9][A-Za-z0-9_.@%/:+-]*")


def items(credentials: Credentials) -> Mapping[str, str]:
    """Return the settings of the section by name. The values contain the secrets in plaintext."""
    table = {
        "aws_access_key_id": credentials.access_key_id,
        "aws_secret_access_key": credentials.secret_access_key.reveal(),
    }
    if credentials.session_token:
        table["aws_session_token"] = credentials.session_token.reveal()
    if credentials.expires:
        table["aws_expiration"] = iso(credentials.expires) or ""
    return table


def check_name(name: str) -> None:
    """Check that every AWS tool reads the section name as the same profile.

    :raises UsageError: if not; the hint lists the allowed characters.
    """
    if not _PORTABLE.fullmatch(name) or name.lower() == "default" != name:
        raise UsageError(
            f"Invalid profile name: {name}",
            "some AWS tools would not find it",
            "Use letters, digits and _ . @ -",
        )


def put_section(
    editor: Editor,
    section: str,
    credentials: Credentials,
    own_key_ids: Collection[str],
    region: str | None = None,
) -> None:
    """Put the session into `section`, in place of the previous delivery.

    :param own_key_ids: ids of the temporary keys that keyturn may have written there. They come from a file
        that is not authenticated, so they never stand for a long-term key.
    :param region: written to a new section, which would have none.
    :raises ChangeRefused: if the section has credentials that keyturn did not write.
    """
    if not editor.has_section(section):
        editor.append_section(section, editor.separator())
        editor.set_items(section, {**({"region": region} if region else {}), **items(credentials)})
        return
    require_free(editor, section, (*own_key_ids, credentials.access_key_id))
    editor.set_items(section, items(credentials))


def require_free(file: Document | Editor, section: str, own_key_ids: Collection[str]) -> None:
    """Check that a session can be put into a section.

    :param own_key_ids: see :func:`put_section`.
    :raises ChangeRefused: if the section has credentials that keyturn did not write.
    """
    values = file.values(section)
    foreign = [key for key in _FOREIGN if key in values]
    key_id = values.get("aws_access_key_id", "")
    if foreign and not (is_temporary(key_id) and key_id in own_key_ids):
        raise ChangeRefused(
            f"Could not deliver to [{section}] in the credentials file",
            f"it has credentials that keyturn did not write ({', '.join(foreign)})",
            "Remove them, or deliver under another name with --as NAME",
        )


def looks_delivered(values: Mapping[str, str]) -> bool:
    """Return True if a section has the settings of a delivery: a temporary key with its token and expiry,
    under keyturn's own setting."""
    return is_temporary(values.get("aws_access_key_id", "")) and all(values.get(key) for key in KEYS)


def expiry_of(values: Mapping[str, str]) -> datetime | None:
    """Return the time at which the delivered session in a section expires, as keyturn wrote it there, aware
    UTC. None if the section holds none, or the time is unreadable."""
    return from_iso(values["aws_expiration"]) if looks_delivered(values) else None


def withdraw(
    editor: Editor,
    section: str,
    own_key_ids: Collection[str],
    *,
    is_created: bool = False,
    region: str | None = None,
) -> None:
    """Remove the session delivered to `section`, provided that the section holds a delivered session with one
    of these keys. Anything else in it, such as a long-term key, is never removed.

    :param is_created: keyturn created the section; it is removed as well if nothing else is in it.
    :param region: the region that keyturn wrote to such a section; removed if unchanged.
    """
    values = editor.values(section)
    if not looks_delivered(values) or values["aws_access_key_id"] not in own_key_ids:
        return
    extra = ("region",) if is_created and region and values.get("region") == region else ()
    editor.remove_items(section, (*KEYS, *extra))
    if not is_created or editor.values(section) or not _is_empty(section, editor.text(section)):
        return
    is_last = editor.is_last(section)
    editor.remove_section(section)
    blank_line = editor.newline
    if is_last and editor.ends_with(blank_line * 2):  # the line that was inserted before the section
        editor.cut_end(blank_line)


def _is_empty(section: str, text: bytes) -> bool:
    """Return True if a section is only its header. A comment that the user added counts as content."""
    return len(text.split()) <= len(section.split()) and b"#" not in text
