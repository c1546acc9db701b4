"""Adopt and release, planned: which lines leave the shared files, which take their place, and how to put them back.

Pure: takes what was read, gives the new bytes. A section is handled as its *core* (header and lines) and its *tail*
(the line end and blank lines after it), because the tail is shared with whatever comes next.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from keyturn.awsconfig.document import (
    Document,
    FileKind,
    parse,
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
    """What adopt took out of one section of one file, enough to put it back byte for byte. Holds secrets."""

    path: str
    kind: FileKind
    section: str
    before: str | None
    """Core and tail before, None where adopt made the section."""
    bare_core: str
    """The core that was left, without our own line."""
    bare_tail: str
    lead: str
    """What adopt put before the header of a section that it made."""
    items: tuple[tuple[str, str], ...]
    """The settings taken out, for a section that somebody changed since."""
    file_made: bool = False
    """There was no such file before adopt."""

    def __repr__(self) -> str:
        return f"Taken({self.path!r}, {self.section!r})"


@dataclass(frozen=True, slots=True)
class SectionEdit:
    """One section's part of an adoption."""

    section: str
    remove: tuple[str, ...]
    """Settings to take out."""
    line: str | None
    """The value of `credential_process` to put in, None for none."""


def reparse_if_changed(data: bytes, document: Document) -> Document:
    """The next state of the same file; read anew only if it is another one, which takes long where the file is."""
    return document if data == document.data else parse(data, document.path, document.kind)


def core_and_tail(text: bytes) -> tuple[bytes, bytes]:
    """A section's text, cut before the line end of its last line that is not blank."""
    core = text.rstrip(b" \t\r\n")
    return core, text[len(core) :]


def remove_settings(document: Document, edits: Sequence[SectionEdit]) -> bytes:
    """The file after adoption; applying it twice changes nothing.

    :raises Protected: a section is ambiguous, or a setting stands in `[DEFAULT]`, where it counts for every profile.
    """
    for edit in edits:
        if edit.line is None:
            document = reparse_if_changed(_without_settings(document, edit), document)
            continue
        document = reparse_if_changed(_with_line(document, edit, edit.line), document)
        rest = tuple(key for key in edit.remove if key != LINE_KEY)
        document = reparse_if_changed(remove_items(document, edit.section, rest), document)
    return document.data


def capture_removed(
    document: Document, path: str, kind: FileKind, edits: Sequence[SectionEdit]
) -> tuple[RemovedSettings, ...]:
    """What :func:`take_out` takes, section by section, to be kept before the file is written."""
    removed = []
    for edit in edits:
        section = document.section(edit.section)
        remaining = reparse_if_changed(_without_settings(document, edit), document)
        if section is None:
            lead = credentials_file.section_separator(document) if edit.line is not None else ""
            end = document.newline
            removed.append(
                RemovedSettings(path, kind, edit.section, None, f"[{edit.section}]", end, lead, ())
            )
            continue
        rest = remaining.section(edit.section)
        core, tail = core_and_tail(rest.text(remaining)) if rest else (b"", b"")
        items = tuple((item.key, item.value) for item in section.items if item.key in edit.remove)
        before = section.text(document).decode("utf-8")
        removed.append(
            RemovedSettings(path, kind, edit.section, before, core.decode(), tail.decode(), "", items)
        )
    return tuple(removed)


def _without_settings(document: Document, edit: SectionEdit) -> bytes:
    if document.section(edit.section) is None:
        return document.data
    return remove_items(document, edit.section, edit.remove)


def _with_line(document: Document, edit: SectionEdit, line: str) -> bytes:
    """The file with our line, at the place of the first setting that is taken out."""
    section = document.section(edit.section)
    if section is None:
        header = f"{credentials_file.section_separator(document)}[{edit.section}]{document.newline}".encode()
        return set_items(reparse_if_changed(document.data + header, document), edit.section, {LINE_KEY: line})
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
    """The file with one section as it was before adoption.

    Byte for byte if the section is as adopt left it; else the settings go back into the section, whatever it holds now.

    :param own_key_ids: key ids of temporary keys that a delivery put into the section, to be taken out with our line.
    :param replacements: values to put in the place of what was taken, by old value: the current key after a rotation.
    """
    document = reparse_if_changed(
        without_process_line(document, settings.section, profile, own_key_ids), document
    )
    section = document.section(settings.section)
    if section is not None:
        core, tail = core_and_tail(section.text(document))
        if core == settings.bare_core.encode():
            if (
                section.end == len(document.data)
                and not settings.bare_tail
                and tail == document.newline.encode()
            ):
                tail = b""  # the file's last line had no end, and got one when our line was put after it
            return _restore_section(document, settings, tail, replacements)
    if settings.before is None:
        return document.data
    items = {key: _apply_replacements(value, replacements) for key, value in settings.items}
    _require_no_foreign_values(document, settings.section, items)
    return restore_items(document, settings.section, items)


def _require_no_foreign_values(document: Document, section: str, items: Mapping[str, str]) -> None:
    """Keeps what somebody else put into the section since: a key of theirs must not be written over by ours.

    :raises Protected: a setting to be given back is there with another value.
    """
    current = document.section(section)
    values = {item.key: item.value for item in current.items} if current else {}
    conflicts = [key for key, value in items.items() if values.get(key, value) != value]
    if conflicts:
        raise ChangeRefused(
            f"release into [{section}] of {document.path}",
            f"{', '.join(conflicts)} stands there with a value that keyturn does not know",
            "Move what was put there since to another profile, then release",
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
    """`removed`, the file without the section that adopt made, also without what adopt put before its header."""
    section = document.section(settings.section)
    if section is None or not settings.lead:
        return data
    start, lead = section.start, settings.lead.encode()
    if data[:start].endswith(lead):
        return data[: start - len(lead)] + data[start:]
    return data


def _apply_replacements(text: str, replacements: Mapping[str, str]) -> str:
    for old, new in replacements.items():
        text = text.replace(old, new)
    return text


def without_process_line(
    document: Document, section: str, profile: str, own_key_ids: Collection[str]
) -> bytes:
    """The file without our `credential_process` line and without the temporary keys that we delivered there."""
    current = document.section(section)
    if current is None:
        return document.data
    values = {item.key: item.value for item in current.items}
    data = document.data
    if is_keyturn_process_line(values.get(LINE_KEY, ""), profile):
        data = remove_items(document, section, (LINE_KEY,))
    if own_key_ids:
        data = credentials_file.withdraw(reparse_if_changed(data, document), section, own_key_ids)
    return data
