"""One shared file as a document: parse, inspect and edit it. Pure: bytes in, bytes out.

:mod:`~keyturn.awsconfig.parser` reads as botocore does, :mod:`~keyturn.awsconfig.section_names` maps headers
    to profiles, :mod:`~keyturn.awsconfig.editor` changes lines.
"""

from __future__ import annotations

from keyturn.awsconfig.editor import Editor, check_item, edit, remove_items, set_items
from keyturn.awsconfig.parser import (
    DEFAULT,
    Document,
    FileKind,
    Item,
    Section,
    Settings,
    Value,
    parse,
    settings_of,
)
from keyturn.awsconfig.section_names import header_for, profile_of

__all__ = [
    "DEFAULT",
    "Document",
    "Editor",
    "FileKind",
    "Item",
    "Section",
    "Settings",
    "Value",
    "check_item",
    "edit",
    "header_for",
    "parse",
    "profile_of",
    "remove_items",
    "set_items",
    "settings_of",
]
