"""Delivery into the shared credentials file, for tools that know nothing else: temporary keys with their end."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from keyturn.awsconfig.document import Document, Section, parse, remove_items, replace_section, set_items
from keyturn.model.errors import ChangeRefused, UsageError
from keyturn.model.profile import Credentials
from keyturn.model.text import iso

#: The settings that a delivery writes and a withdrawal removes.
KEYS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token", "aws_expiration")
#: What else could hold a credential in the same section, and would then be hidden by ours, or hide it.
_FOREIGN = (*KEYS, "aws_security_token")
_PORTABLE = re.compile(r"(?!profile |sso-session |services )[A-Za-z0-9][A-Za-z0-9_.@%/:+-]*")


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


def check_name(name: str) -> None:
    """Refuses a section name that would not be one profile for every AWS tool.

    :raises UsageError: with what is allowed.
    """
    if not _PORTABLE.fullmatch(name) or name.lower() == "default" != name:
        raise UsageError(
            f"section {name}", "not every AWS tool would find it", "Use letters, digits and _ . @ -"
        )


def put_section(
    document: Document,
    section: str,
    credentials: Credentials,
    own_key_ids: Collection[str],
    region: str | None = None,
) -> bytes:
    """The file with the session in `section`, in place of the one delivered before.

    :param ours: key ids that keyturn itself may have put there.
    :param region: goes along into a section that is made, which would have none.
    :raises Protected: the section holds somebody else's credentials.
    """
    existing = document.section(section)
    if existing is None:
        content = document.data + f"{section_separator(document)}[{section}]{document.newline}".encode()
        extra = {"region": region} if region else {}
        return set_items(
            parse(content, document.path, document.kind), section, {**extra, **items(credentials)}
        )
    values = {item.key: item.value for item in existing.items}
    foreign = [key for key in _FOREIGN if key in values]
    if (
        foreign
        and values.get("aws_access_key_id") not in own_key_ids
        and not _has_key_id(values, credentials)
    ):
        raise ChangeRefused(
            f"delivery to [{section}] of the credentials file",
            f"it holds credentials that keyturn did not put there ({', '.join(foreign)})",
            "Take them out of that section, or deliver under another name with --as NAME",
        )
    return set_items(document, section, items(credentials))


def _has_key_id(values: Mapping[str, str], credentials: Credentials) -> bool:
    return values.get("aws_access_key_id") == credentials.access_key_id


def looks_delivered(values: Mapping[str, str]) -> bool:
    """Whether a section holds what a delivery writes: a temporary key with its end, under our own setting."""
    return values.get("aws_access_key_id", "").startswith("ASIA") and set(KEYS) <= set(values)


def withdraw(
    document: Document,
    section: str,
    own_key_ids: Collection[str],
    *,
    is_created: bool = False,
    region: str | None = None,
) -> bytes:
    """The file without what was delivered to `section`, as long as the keys there are still ours.

    :param made: keyturn made the section; it goes too, once nothing else stands in it.
    :param region: what keyturn put into such a section besides the keys; it goes if nobody changed it.
    """
    existing = document.section(section)
    values = {item.key: item.value for item in existing.items} if existing else {}
    if existing is None or values.get("aws_access_key_id") not in own_key_ids:
        return document.data
    extra = ("region",) if is_created and region and values.get("region") == region else ()
    remaining = parse(remove_items(document, section, (*KEYS, *extra)), document.path, document.kind)
    existing = remaining.section(section)
    if not is_created or existing is None or existing.items or not _is_empty(remaining, existing):
        return remaining.data
    return _remove_section(remaining, existing)


def _remove_section(document: Document, section: Section) -> bytes:
    """The file without a section that :func:`put` made at its end, and without the blank line put before it."""
    data = replace_section(document, section.name, None)
    newline = document.newline.encode()
    at_end = len(data) == section.start
    return data.removesuffix(newline) if at_end and data.endswith(newline * 2) else data


def _is_empty(document: Document, section: Section) -> bool:
    """Nothing but the header: no comment that somebody may have added."""
    return len(section.text(document).split()) <= len(section.name.split()) and b"#" not in section.text(
        document
    )


def section_separator(document: Document) -> str:
    """What stands between the end of a file and a section that is put there: an end for its last line, a blank one."""
    if not document.data:
        return ""
    missing = "" if document.data.endswith((b"\n", b"\r")) else document.newline
    return missing + document.newline
