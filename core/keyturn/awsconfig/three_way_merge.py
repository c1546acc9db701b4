"""What an edit changed, whether it is still there, and how two edits of the same file come together. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from keyturn.awsconfig.editor import remove_items, replace_section, restore_items
from keyturn.awsconfig.parser import DEFAULT, Document, parse
from keyturn.model.errors import ChangeRefused

Settings = Mapping[str, Mapping[str, str]]


def settings(document: Document) -> dict[str, dict[str, str]]:
    """Each section's own settings, nested blocks unparsed; all `[DEFAULT]` sections together."""
    found: dict[str, dict[str, str]] = {}
    for section in document.sections:
        found.setdefault(section.name, {}).update(section.values)
    return found


def still_there(before: Document, after: Document, now: Document) -> bool:
    """Whether all that an edit changed between `before` and `after` is so in `now`, whatever else has changed."""
    old, new, found = settings(before), settings(after), settings(now)
    for section in {*old, *new}:
        if (section in old) != (section in new) and (section in found) != (section in new):
            return False
        first, second, third = (table.get(section, {}) for table in (old, new, found))
        for key in {*first, *second}:
            if first.get(key) != second.get(key) and third.get(key) != second.get(key):
                return False
    return True


def merged(base: Document, theirs: Document, ours: Document) -> bytes:
    """`ours` with what `theirs` changed since `base`. Where both changed the same setting, theirs counts.

    :raises Protected: the lines of one would be read differently beside those of the other, or `[DEFAULT]` changed.
    """
    if settings(theirs).get(DEFAULT) != settings(base).get(DEFAULT):
        raise ChangeRefused("joining two edits", "one of them changed [DEFAULT]")
    result = ours
    if _top(ours) == _top(base):
        result = parse(_top(theirs) + ours.data[len(_top(ours)) :], ours.path, ours.kind)
    for name in dict.fromkeys([section.name for doc in (base, theirs) for section in doc.sections]):
        if name == DEFAULT:
            continue
        first, second, third = (_text(doc, name) for doc in (base, theirs, ours))
        if second in (first, third):
            continue
        if third == first:
            data = replace_section(result, name, second)
        else:
            data = _merged_items(base, theirs, result, name)
        result = parse(data, ours.path, ours.kind)
    return result.data


def _merged_items(base: Document, theirs: Document, ours: Document, name: str) -> bytes:
    first, second = settings(base).get(name, {}), settings(theirs).get(name, {})
    gone = [key for key in first if key not in second]
    changed = {key: value for key, value in second.items() if first.get(key) != value}
    document = parse(remove_items(ours, name, gone), ours.path, ours.kind)
    return restore_items(document, name, changed)


def _top(document: Document) -> bytes:
    """The comments before the first section."""
    return document.data[: document.sections[0].start] if document.sections else document.data


def _text(document: Document, name: str) -> bytes | None:
    section = document.section(name)
    return None if section is None else section.text(document)
