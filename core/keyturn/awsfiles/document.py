"""One shared file as a document: read it, look at it, edit it. Pure: bytes in, bytes out.

The parts: :mod:`~keyturn.awsfiles.grammar` reads as botocore reads, :mod:`~keyturn.awsfiles.headers` knows which
profile a header names, :mod:`~keyturn.awsfiles.edits` changes lines.
"""

from __future__ import annotations

from keyturn.awsfiles.edits import check_item, remove_items, replace_section, restore_items, set_items
from keyturn.awsfiles.grammar import (
    DEFAULT,
    Document,
    FileKind,
    Item,
    Section,
    Settings,
    Value,
    parse,
    raw_settings,
    settings_of,
)
from keyturn.awsfiles.headers import header_for, is_portable, profile_of, sections_of

__all__ = [
    "DEFAULT",
    "Document",
    "FileKind",
    "Item",
    "Section",
    "Settings",
    "Value",
    "check_item",
    "header_for",
    "is_portable",
    "parse",
    "profile_of",
    "raw_settings",
    "remove_items",
    "replace_section",
    "restore_items",
    "sections_of",
    "set_items",
    "settings_of",
]
