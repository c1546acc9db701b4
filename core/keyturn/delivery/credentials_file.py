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
    ours: Collection[str],
    region: str | None = None,
) -> bytes:
    """The file with the session in `section`, in place of the one delivered before.

    :param ours: key ids that keyturn itself may have put there.
    :param region: goes along into a section that is made, which would have none.
    :raises Protected: the section holds somebody else's credentials.
    """
    present = document.section(section)
    if present is None:
        made = document.data + f"{comment_line(document)}[{section}]{document.newline}".encode()
        along = {"region": region} if region else {}
        return set_items(parse(made, document.path, document.kind), section, {**along, **items(credentials)})
    found = {item.key: item.value for item in present.items}
    foreign = [key for key in _FOREIGN if key in found]
    if foreign and found.get("aws_access_key_id") not in ours and not _same(found, credentials):
        raise ChangeRefused(
            f"delivery to [{section}] of the credentials file",
            f"it holds credentials that keyturn did not put there ({', '.join(foreign)})",
            "Take them out of that section, or deliver under another name with --as NAME",
        )
    return set_items(document, section, items(credentials))


def _same(found: Mapping[str, str], credentials: Credentials) -> bool:
    return found.get("aws_access_key_id") == credentials.access_key_id


def looks_delivered(values: Mapping[str, str]) -> bool:
    """Whether a section holds what a delivery writes: a temporary key with its end, under our own setting."""
    return values.get("aws_access_key_id", "").startswith("ASIA") and set(KEYS) <= set(values)


def withdraw(
    document: Document, section: str, ours: Collection[str], *, made: bool = False, region: str | None = None
) -> bytes:
    """The file without what was delivered to `section`, as long as the keys there are still ours.

    :param made: keyturn made the section; it goes too, once nothing else stands in it.
    :param region: what keyturn put into such a section besides the keys; it goes if nobody changed it.
    """
    present = document.section(section)
    values = {item.key: item.value for item in present.items} if present else {}
    if present is None or values.get("aws_access_key_id") not in ours:
        return document.data
    along = ("region",) if made and region and values.get("region") == region else ()
    left = parse(remove_items(document, section, (*KEYS, *along)), document.path, document.kind)
    present = left.section(section)
    if not made or present is None or present.items or not _bare(left, present):
        return left.data
    return _without(left, present)


def _without(document: Document, section: Section) -> bytes:
    """The file without a section that :func:`put` made at its end, and without the blank line put before it."""
    removed = replace_section(document, section.name, None)
    newline = document.newline.encode()
    at_end = len(removed) == section.start
    return removed.removesuffix(newline) if at_end and removed.endswith(newline * 2) else removed


def _bare(document: Document, section: Section) -> bool:
    """Nothing but the header: no comment that somebody may have added."""
    return len(section.text(document).split()) <= len(section.name.split()) and b"#" not in section.text(
        document
    )


def comment_line(document: Document) -> str:
    """What stands between the end of a file and a section that is put there: an end for its last line, a blank one."""
    if not document.data:
        return ""
    missing = "" if document.data.endswith((b"\n", b"\r")) else document.newline
    return missing + document.newline
