"""File edits of adopt and release: which lines are removed from the shared files, what replaces them, and how
they are restored.

All functions are pure: they take documents and return bytes. A section consists of its *core* (header and
lines) and its *tail* (the line end and blank lines after it), because the tail is shared with the following
section.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from keyturn.awsconfig.document import (
    Document,
    FileKind,
    remove_items,
    replace_section,
    restore_items,
    set_items,
)
from keyturn.awsconfig.process_line import is_keyturn_process_line
from keyturn.delivery import credentials_file
from keyturn.model.errors import ChangeRefused

LINE_KEY = "credential_process"


@dataclass(frozen=True, slots=True)
class RemovedSettings:
    """Settings that adopt removed from one section of one file, with all that is needed to restore them byte
    for byte. Holds secrets.
    """

    path: str
    kind: FileKind
    section: str
    before: str | None
    """Core and tail before adoption; None if adopt created the section."""
    bare_core: str
    """Core after adoption, without the process line."""
    bare_tail: str
    lead: str
    """Text that adopt inserted before the header of a section that it created."""
    items: tuple[tuple[str, str], ...]
    """The removed settings, for restoring them to a section that has changed since."""
    file_made: bool = False
    """True if adopt created the file."""

    def __repr__(self) -> str:
        return f"RemovedSettings({self.path!r}, {self.section!r})"


@dataclass(frozen=True, slots=True)
class SectionEdit:
    """An adoption's edit of one section."""

    section: str
    remove: tuple[str, ...]
    """Settings to remove."""
    line: str | None
    """New value of `credential_process`, or None."""


def core_and_tail(text: bytes) -> tuple[bytes, bytes]:
    """Split a section's text before the line end of its last line that is not blank."""
    core = text.rstrip(b" \t\r\n")
    return core, text[len(core) :]


def remove_settings(document: Document, edits: Sequence[SectionEdit]) -> bytes:
    """Return the file after adoption. The edit is idempotent.

    :raises ChangeRefused: if a section is ambiguous, or a setting is in `[DEFAULT]`, which applies to every
        profile.
    """
    for edit in edits:
        removed = edit.remove
        if edit.line is not None:
            document = document.reparse(_with_line(document, edit, edit.line))
            removed = tuple(key for key in removed if key != LINE_KEY)
        document = document.reparse(remove_items(document, edit.section, removed))
    return document.data


def capture_removed(document: Document, path: str, kind: FileKind, edit: SectionEdit) -> RemovedSettings:
    """Return what :func:`remove_settings` removes from a section, to be stored before the file is written."""
    section = document.section(edit.section)
    if section is None:
        lead = credentials_file.section_separator(document) if edit.line is not None else ""
        end = document.newline
        return RemovedSettings(path, kind, edit.section, None, f"[{edit.section}]", end, lead, ())
    remaining = document.reparse(remove_items(document, edit.section, edit.remove))
    rest = remaining.section(edit.section)
    core, tail = core_and_tail(rest.text(remaining)) if rest else (b"", b"")
    items = tuple((item.key, item.value) for item in section.items if item.key in edit.remove)
    before = section.text(document).decode("utf-8")
    return RemovedSettings(path, kind, edit.section, before, core.decode(), tail.decode(), "", items)


def _with_line(document: Document, edit: SectionEdit, line: str) -> bytes:
    """Return the file with the process line in place of the first removed setting."""
    section = document.section(edit.section)
    if section is None:
        header = f"{credentials_file.section_separator(document)}[{edit.section}]{document.newline}".encode()
        return set_items(document.reparse(document.data + header), edit.section, {LINE_KEY: line})
    first_key = next((item.key for item in section.items if item.key in edit.remove), None)
    return set_items(document, edit.section, {LINE_KEY: line}, before_key=first_key)


def restore(
    document: Document,
    settings: RemovedSettings,
    *,
    profile: str,
    own_key_ids: Collection[str],
    replacements: Mapping[str, str],
) -> bytes:
    """Return the file with one section restored to its state before adoption.

    The result is identical byte for byte if the section is unchanged since the adoption. Otherwise the
    settings are inserted into the section as it is now.

    :param own_key_ids: access key ids that a delivery wrote to the section. They are removed with the process
        line.
    :param replacements: new values by old value: the current access key after a rotation.
    """
    document = document.reparse(without_process_line(document, settings.section, profile, own_key_ids))
    section = document.section(settings.section)
    if section is not None:
        core, tail = core_and_tail(section.text(document))
        if core == settings.bare_core.encode():
            if (
                section.end == len(document.data)
                and not settings.bare_tail
                and tail == document.newline.encode()
            ):
                tail = b""  # the last line had no line end until adopt appended its line
            return _restore_section(document, settings, tail, replacements)
    if settings.before is None:
        return document.data
    items = {key: _apply_replacements(value, replacements) for key, value in settings.items}
    _require_no_foreign_values(document, settings.section, items)
    return restore_items(document, settings.section, items)


def _require_no_foreign_values(document: Document, section: str, items: Mapping[str, str]) -> None:
    """Check that restoring does not overwrite a value that another program or the user has set since.

    :raises ChangeRefused: if a setting is present with another value.
    """
    values = document.values(section)
    conflicts = [key for key, value in items.items() if values.get(key, value) != value]
    if conflicts:
        raise ChangeRefused(
            f"Could not release into [{section}] of {document.path}",
            f"{', '.join(conflicts)} has a value there that keyturn did not write",
            "Move the settings added since to another profile, then release",
        )


def _restore_section(
    document: Document, settings: RemovedSettings, tail: bytes, replacements: Mapping[str, str]
) -> bytes:
    if settings.before is None:
        rest = tail[len(settings.bare_tail) :] if tail.startswith(settings.bare_tail.encode()) else b""
        remainder = replace_section(document, settings.section, rest or None)
        return _without_lead(document, remainder, settings)
    core, tail_before = core_and_tail(_apply_replacements(settings.before, replacements).encode())
    return replace_section(
        document, settings.section, core + (tail_before if tail == settings.bare_tail.encode() else tail)
    )


def _without_lead(document: Document, data: bytes, settings: RemovedSettings) -> bytes:
    """Return `data`, the file without the section that adopt created, also without the text that adopt
    inserted before its header.

    That text is a blank line, after a line end if the file had none at its end. A line end stays where a line
    follows, because the user may have removed the blank line, and two lines must never become one.
    """
    section = document.section(settings.section)
    if section is None or not settings.lead:
        return data
    before, rest = data[: section.start], data[section.start :]
    lead = settings.lead.encode()
    if not before.endswith(lead):
        return data
    kept = before[: len(before) - len(lead)]
    joins = kept and rest and not kept.endswith((b"\n", b"\r")) and not rest.startswith((b"\n", b"\r"))
    return kept + (document.newline.encode() if joins else b"") + rest


def _apply_replacements(text: str, replacements: Mapping[str, str]) -> str:
    for old, new in replacements.items():
        text = text.replace(old, new)
    return text


def without_process_line(
    document: Document, section: str, profile: str, own_key_ids: Collection[str]
) -> bytes:
    """Return the file without keyturn's process line and without delivered temporary credentials in the
    section.
    """
    data = document.data
    if is_keyturn_process_line(document.values(section).get(LINE_KEY, ""), profile):
        data = remove_items(document, section, (LINE_KEY,))
    if own_key_ids:
        data = credentials_file.withdraw(document.reparse(data), section, own_key_ids)
    return data
