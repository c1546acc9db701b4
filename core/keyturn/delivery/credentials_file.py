"""Delivery into the shared credentials file, for tools that know nothing else: temporary keys with their end."""

from __future__ import annotations

from collections.abc import Mapping

from keyturn.awsfiles.document import Document, remove_items, set_items
from keyturn.errors import Protected
from keyturn.model import Credentials
from keyturn.text import iso

#: The settings that a delivery writes and a withdrawal removes.
KEYS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token", "aws_expiration")
#: What else could hold a credential in the same section, and would then be hidden by ours, or hide it.
_FOREIGN = (*KEYS, "aws_security_token")


def items(credentials: Credentials) -> Mapping[str, str]:
    """What goes into the section, by setting; holds the secrets in clear."""
    table = {
        "aws_access_key_id": credentials.access_key_id,
        "aws_secret_access_key": credentials.secret_access_key.reveal(),
    }
    if credentials.session_token:
        table["aws_session_token"] = credentials.session_token.reveal()
    if credentials.expires:
        table["aws_expiration"] = iso(credentials.expires) or ""
    return table


def put(document: Document, section: str, credentials: Credentials, *, ours: str | None) -> bytes:
    """The file with the session in `section`, in place of the one delivered before.

    :param ours: key id of what keyturn delivered there last, None if nothing.
    :raises Protected: the section holds somebody else's credentials.
    """
    present = document.section(section)
    if present is not None:
        found = {item.key: item.value for item in present.items}
        foreign = [key for key in _FOREIGN if key in found]
        if foreign and found.get("aws_access_key_id") not in (ours, credentials.access_key_id):
            raise Protected(
                f"delivery to [{section}] of the credentials file",
                f"it holds credentials that keyturn did not put there ({', '.join(foreign)})",
                "Adopt that profile, or deliver under another name with --as NAME",
            )
    return set_items(document, section, items(credentials))


def withdraw(document: Document, section: str, key_id: str) -> bytes:
    """The file without what was delivered to `section`, as long as it still holds the key `key_id`.

    A section that then is empty goes with it, unless it was there before (the caller knows and puts it back).
    """
    present = document.section(section)
    if present is None:
        return document.data
    if {item.key: item.value for item in present.items}.get("aws_access_key_id") != key_id:
        return document.data
    return remove_items(document, section, KEYS)
