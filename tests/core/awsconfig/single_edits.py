"""Single edits of a file, for tests: bytes of the edited file, from a parsed one."""

from __future__ import annotations

from collections.abc import Mapping

from keyturn.awsconfig.document import Document, edit


def restore_items(document: Document, section: str, items: Mapping[str, str]) -> bytes:
    """Return the file with settings that it had before."""
    return edit(document, lambda editor: editor.restore_items(section, items))


def replace_section(document: Document, section: str, text: bytes | None) -> bytes:
    """Return the file with one section replaced."""
    return edit(document, lambda editor: editor.replace_section(section, text))
