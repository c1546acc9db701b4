"""Three-way merge of two edits of a shared file, and a check that an edit is still applied. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from keyturn.awsconfig.editor import Editor
from keyturn.awsconfig.parser import DEFAULT, Document
from keyturn.model.errors import ChangeRefused

Settings = Mapping[str, Mapping[str, str]]


def settings(document: Document) -> dict[str, dict[str, str]]:
    """Return each section's own settings, nested blocks unparsed; all `[DEFAULT]` sections are combined."""
    result: dict[str, dict[str, str]] = {}
    for section in document.sections:
        result.setdefault(section.name, {}).update(section.values)
    return result


def is_still_applied(before: Document, after: Document, now: Document) -> bool:
    """Return True if everything that an edit changed between `before` and `after` is still so in `now`."""
    old, new, current = settings(before), settings(after), settings(now)
    for section in {*old, *new}:
        if (section in old) != (section in new) and (section in current) != (section in new):
            return False
        old_values, new_values, current_values = (table.get(section, {}) for table in (old, new, current))
        for key in {*old_values, *new_values}:
            if old_values.get(key) != new_values.get(key) and current_values.get(key) != new_values.get(key):
                return False
    return True


def merge(base: Document, theirs: Document, ours: Document) -> bytes:
    """Return `ours` with the changes from `base` to `theirs`. If both changed the same setting, `theirs`
    wins.

    :raises ChangeRefused: if the lines of one edit would be read differently beside those of the other, or
        `[DEFAULT]` changed.
    """
    if settings(theirs).get(DEFAULT) != settings(base).get(DEFAULT):
        raise ChangeRefused("Could not merge two edits", "one of them changed [DEFAULT]")
    result = ours
    if _preamble(ours) == _preamble(base):
        result = ours.reparse(_preamble(theirs) + ours.data[len(_preamble(ours)) :])
    editor = Editor(result)
    for name in dict.fromkeys([section.name for doc in (base, theirs) for section in doc.sections]):
        if name == DEFAULT:
            continue
        base_text, their_text, our_text = (_section_text(doc, name) for doc in (base, theirs, ours))
        if their_text in (base_text, our_text):
            continue
        if our_text == base_text:
            editor.replace_section(name, their_text)
        else:
            _merge_items(editor, name, base.values(name), theirs.values(name))
    return editor.finish()


def _merge_items(editor: Editor, name: str, base: Mapping[str, str], theirs: Mapping[str, str]) -> None:
    """Apply the changes of a section's settings from `base` to `theirs`."""
    editor.remove_items(name, [key for key in base if key not in theirs])
    editor.restore_items(name, {key: value for key, value in theirs.items() if base.get(key) != value})


def _preamble(document: Document) -> bytes:
    """Return everything before the first section; the whole file if it has none."""
    return document.data[: document.sections[0].start] if document.sections else document.data


def _section_text(document: Document, name: str) -> bytes | None:
    section = document.section(name)
    return None if section is None else section.text(document)
