"""File edits of adopt and release: which lines are removed from the shared files, what replaces them, and how
they are restored.

All functions are pure: they edit a file in memory. A section consists of its *core* (header and
lines) and its *tail* (the line end and blank lines after it), because the tail is shared with the following
section.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from keyturn.awsconfig.document import Document, Editor, FileKind
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
    """Return the file after adoption. The edits are idempotent.

    :raises ChangeRefused: if a section is ambiguous, or a setting is in `[DEFAULT]`, which applies to every
        profile.
    """
    editor = Editor(document)
    for edit in edits:
        remove(editor, edit)
    return editor.finish()


def remove(editor: Editor, edit: SectionEdit) -> None:
    """Remove the settings of one section, and put the process line in place of the first one."""
    removed = edit.remove
    if edit.line is not None:
        removed = tuple(key for key in removed if key != LINE_KEY)
        if not editor.has_section(edit.section):
            editor.append_section(edit.section, editor.separator())
        first_key = next((key for key in editor.values(edit.section) if key in edit.remove), None)
        editor.set_items(edit.section, {LINE_KEY: edit.line}, before_key=first_key)
    editor.remove_items(edit.section, removed)


def capture_removed(editor: Editor, edit: SectionEdit) -> RemovedSettings:
    """Return what :func:`remove` will remove from a section, to be stored before the file is written."""
    path, kind = editor.document.path, editor.kind
    if not editor.has_section(edit.section):
        lead = editor.separator().decode() if edit.line is not None else ""
        end = editor.newline.decode()
        return RemovedSettings(path, kind, edit.section, None, f"[{edit.section}]", end, lead, ())
    text = editor.text(edit.section)
    core, tail = core_and_tail(editor.text_without(edit.section, edit.remove))
    items = tuple((key, value) for key, value in editor.values(edit.section).items() if key in edit.remove)
    return RemovedSettings(path, kind, edit.section, text.decode(), core.decode(), tail.decode(), "", items)


def restore(
    editor: Editor,
    settings: RemovedSettings,
    *,
    profile: str,
    own_key_ids: Collection[str],
    replacements: Mapping[str, str],
) -> None:
    """Restore one section to its state before adoption.

    The result is identical byte for byte if the section is unchanged since the adoption. Otherwise the
    settings are inserted into the section as it is now.

    :param own_key_ids: access key ids that a delivery wrote to the section. They are removed with the process
        line.
    :param replacements: new values by old value: the current access key after a rotation.
    """
    section = settings.section
    remove_process_line(editor, section, profile, own_key_ids)
    if editor.has_section(section):
        core, tail = core_and_tail(editor.text(section))
        if core == settings.bare_core.encode():
            if editor.is_last(section) and not settings.bare_tail and tail == editor.newline:
                tail = b""  # the last line had no line end until adopt appended its line
            _restore_section(editor, settings, tail, replacements)
            return
    if settings.before is None:
        return
    items = {key: _apply_replacements(value, replacements) for key, value in settings.items}
    _require_no_foreign_values(editor, section, items)
    editor.restore_items(section, items)


def _require_no_foreign_values(editor: Editor, section: str, items: Mapping[str, str]) -> None:
    """Check that restoring does not overwrite a value that another program or the user has set since.

    :raises ChangeRefused: if a setting is present with another value.
    """
    values = editor.values(section)
    conflicts = [key for key, value in items.items() if values.get(key, value) != value]
    if conflicts:
        raise ChangeRefused(
            f"Could not release into [{section}] of {editor.document.path}",
            f"{', '.join(conflicts)} has a value there that keyturn did not write",
            "Move the settings added since to another profile, then release",
        )


def _restore_section(
    editor: Editor, settings: RemovedSettings, tail: bytes, replacements: Mapping[str, str]
) -> None:
    bare_tail = settings.bare_tail.encode()
    if settings.before is None:
        rest = tail[len(bare_tail) :] if tail.startswith(bare_tail) else b""
        # A blank line that the user removed since is not there; two lines must never become one.
        editor.remove_section(settings.section, rest=rest, lead=settings.lead.encode())
        return
    core, tail_before = core_and_tail(_apply_replacements(settings.before, replacements).encode())
    editor.replace_section(settings.section, core + (tail_before if tail == bare_tail else tail))


def _apply_replacements(text: str, replacements: Mapping[str, str]) -> str:
    for old, new in replacements.items():
        text = text.replace(old, new)
    return text


def remove_process_line(editor: Editor, section: str, profile: str, own_key_ids: Collection[str]) -> None:
    """Remove keyturn's process line and delivered temporary credentials from a section."""
    if is_keyturn_process_line(editor.values(section).get(LINE_KEY, ""), profile):
        editor.remove_items(section, (LINE_KEY,))
    if own_key_ids:
        credentials_file.withdraw(editor, section, own_key_ids)
