"""Lossless edits of a shared file: bytes in, bytes out, every byte outside the edited lines unchanged.

Each edit is verified before it is returned: the new bytes are parsed again, and every other setting must read
as before. Edits are idempotent.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from keyturn.awsconfig.parser import DEFAULT, Document, Item, Section, parse
from keyturn.awsconfig.section_names import check_header, require_unique_name
from keyturn.model.errors import ChangeRefused, UnparsableFile, UsageError

_KEY = re.compile(r"[a-z0-9_]+")
#: Characters that some reader takes as a line end, and control characters. A tab is allowed inside a value.
_FORBIDDEN = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
#: Go, JavaScript and Java start a comment here, inside a value.
_INLINE_COMMENT = re.compile(r"(^|[ \t])[#;]")
_SETTING_START = re.compile(rb"^(?P<name>[^=:]*)(?P<delimiter>[=:])(?P<space>[ \t]*)")


def set_items(
    document: Document, section: str, items: Mapping[str, str], *, before_key: str | None = None
) -> bytes:
    """Return the file with `items` set in `section`: existing values are replaced in place, missing ones are
    added.

    :param before_key: insert missing items before this key if the section has it, otherwise after the last
        item. A missing section is appended to the file.
    :raises UsageError: if some AWS SDK would misread a name, key or value; the message omits
        the value.
    :raises ChangeRefused: if the section is `[DEFAULT]`, or one of several that name the same profile.
    """
    for key, value in items.items():
        check_item(key, value)
    return _set(document, section, items, before_key)


def restore_items(
    document: Document, section: str, items: Mapping[str, str], *, before_key: str | None = None
) -> bytes:
    """Set values that were in a shared file before; see :func:`set_items`.

    Accepts everything that botocore reads back unchanged, including nested blocks and multi-line values.

    :raises ChangeRefused: as :func:`set_items`, and if botocore would not read a key or value back unchanged.
    """
    return _set(document, section, items, before_key)


def remove_items(document: Document, section: str, keys: Collection[str]) -> bytes:
    """Return the file without `keys` in `section`. Comments stay, also those between the lines of a removed
    value.

    :raises ChangeRefused: if the section is `[DEFAULT]` or one of several that name the same profile, or a
        key would still be inherited from `[DEFAULT]`.
    """
    existing = document.section(section)
    _refuse_default(document, section)
    if existing is None:
        return document.data
    require_unique_name(document, section)
    inherited = sorted(set(keys) & set(document.defaults))
    if inherited:
        raise ChangeRefused(
            f"Could not remove {', '.join(inherited)} from [{section}]",
            f"[DEFAULT] of {document.path or 'the file'} adds it to every section",
            "Move it out of [DEFAULT] first",
        )
    removed = [item for item in existing.items if item.key in keys]
    if not removed:
        return document.data
    lines = document.data.splitlines(keepends=True)
    for item in removed:
        for number in _value_lines(lines, item):
            lines[number] = b""
    expected = {item.key: item.value for item in existing.items if item.key not in keys}
    return _verify(document, b"".join(lines), section, expected)


def replace_section(document: Document, section: str, text: bytes | None) -> bytes:
    """Return the file with the whole section, from its header to the next one, replaced with `text`.

    A missing section is appended to the file. None removes the section.

    :param text: that one section, or only blank lines and comments.
    :raises UsageError: if `text` holds anything else.
    :raises ChangeRefused: if the section is `[DEFAULT]` or one of several that name the same profile, or the
        lines after it would become part of a value.
    """
    _refuse_default(document, section)
    require_unique_name(document, section)
    expected = None if text is None else _parse_single_section(text, section)
    existing = document.section(section)
    before = document.data[: existing.start] if existing else document.data
    after = document.data[existing.end :] if existing else b""
    new = text or b""
    if new and before:
        before = _ensure_newline(before, document)
    if new and after:
        new = _ensure_newline(new, document)
    return _verify(document, before + new + after, section, expected)


def check_item(key: str, value: str) -> None:
    """:raises UsageError: if some AWS SDK would read the key or value differently; the message omits the
    value.
    """
    if not _KEY.fullmatch(key):
        raise UsageError(f"Invalid setting {key}", "a key has only lowercase letters, digits and underscores")
    if _FORBIDDEN.search(value):
        raise UsageError(f"Invalid setting {key}", "its value contains a line break or a control character")
    if value != value.strip():
        raise UsageError(f"Invalid setting {key}", "its value starts or ends with a space")
    if _INLINE_COMMENT.search(value):
        raise UsageError(
            f"Invalid setting {key}", "its value contains `#` or `;` where some AWS SDKs start a comment"
        )


def _set(document: Document, section: str, items: Mapping[str, str], before_key: str | None) -> bytes:
    _refuse_default(document, section)
    require_unique_name(document, section)
    existing = document.section(section)
    if existing is None:
        return _append_section(document, section, items)
    own = {item.key: item for item in existing.items}
    changed = {key: value for key, value in items.items() if key in own and own[key].value != value}
    missing = {key: value for key, value in items.items() if key not in own}
    if not changed and not missing:
        return document.data
    lines = document.data.splitlines(keepends=True)
    for key, value in changed.items():
        _replace(lines, own[key], value, document)
    if missing:
        _insert(lines, document, existing, missing, own.get(before_key or ""))
    expected = {key: item.value for key, item in own.items()} | dict(items)
    return _verify(document, b"".join(lines), section, expected)


def _append_section(document: Document, section: str, items: Mapping[str, str]) -> bytes:
    """Append a section to the file, after one blank line."""
    check_header(section)
    end = document.newline.encode()
    data = _ensure_newline(document.data, document)
    if data and data.splitlines()[-1].strip():
        data += end
    text = b"[" + section.encode() + b"]" + end
    for key, value in items.items():
        text += _format_setting(b"", key, value, end)
    return _verify(document, data + text, section, dict(items))


def _insert(
    lines: list[bytes], document: Document, section: Section, items: Mapping[str, str], before: Item | None
) -> None:
    """Add lines with the indentation of a neighbouring line.

    A line that is indented more than its neighbour, or less than a header that follows, would make one of
    them part of the other's value.
    """
    if before is not None:
        index, neighbour = before.line - 1, before.line - 1
    elif section.items:
        index, neighbour = section.items[-1].line_end, section.items[-1].line - 1
    else:
        index = section.line
        neighbour = section.line_end if section.line_end < len(lines) else section.line - 1
    end = document.newline.encode()
    text = b"".join(
        _format_setting(_indent(lines[neighbour]), key, value, end) for key, value in items.items()
    )
    if index and not lines[index - 1].endswith((b"\n", b"\r")):
        # The last line of the file has no line end, or an earlier edit emptied the line.
        lines[index - 1] = _ensure_newline(lines[index - 1], document)
    lines.insert(index, text)


def _replace(lines: list[bytes], item: Item, value: str, document: Document) -> None:
    """Replace a value; key, delimiter, spacing and the comments between its lines stay."""
    old = lines[item.line - 1]
    head = _SETTING_START.match(old)
    if head is None:
        raise ValueError("the first line of a setting has no delimiter")
    line_end = old[len(old.rstrip(b"\r\n")) :]
    for number in _value_lines(lines, item)[1:]:
        lines[number] = b""
    space = head["space"] or (b" " if head["name"][-1:] in (b" ", b"\t") else b"")
    formatted = _format_value(_indent(old), value, document.newline.encode())
    lines[item.line - 1] = head["name"] + head["delimiter"] + space + formatted + line_end


def _format_setting(indent: bytes, key: str, value: str, end: bytes) -> bytes:
    return indent + key.encode() + b" = " + _format_value(indent, value, end) + end


def _format_value(indent: bytes, value: str, end: bytes) -> bytes:
    """Return a value as written after the delimiter; continuation lines are indented more than the key."""
    first, *rest = value.split("\n")
    return first.encode() + b"".join(
        end + (indent + b"    " + line.encode() if line else b"") for line in rest
    )


def _value_lines(lines: list[bytes], item: Item) -> list[int]:
    """Return the indexes of the lines that hold a value, without blank lines and comments between them."""
    first = item.line - 1
    inner = range(item.line, item.line_end)
    return [first, *(n for n in inner if lines[n].decode().strip()[:1] not in ("", "#", ";"))]


def _indent(line: bytes) -> bytes:
    text = line.decode()
    return text[: len(text) - len(text.lstrip())].encode() if text.strip() else b""


def _ensure_newline(data: bytes, document: Document) -> bytes:
    """Return `data` with a line end after its last line."""
    return data if not data or data.endswith((b"\n", b"\r")) else data + document.newline.encode()


def _parse_single_section(text: bytes, section: str) -> dict[str, str] | None:
    """Return the settings that `text` holds under `[section]`; None if it has no section.

    :raises UsageError: if it contains another section, or botocore does not accept it.
    """
    try:
        sections = parse(text).sections
    except UnparsableFile as error:
        raise UsageError(f"Invalid text for [{section}]", error.why) from None
    if not sections:
        return None
    if len(sections) > 1 or sections[0].name != section:
        raise UsageError(f"Invalid text for [{section}]", "it contains another section")
    return sections[0].values


def _refuse_default(document: Document, section: str) -> None:
    if section == DEFAULT:
        raise ChangeRefused(
            f"Could not edit [DEFAULT] in {document.path or 'the file'}",
            "its settings apply to every section",
            "Edit it by hand",
        )


def _verify(document: Document, data: bytes, section: str, expected: dict[str, str] | None) -> bytes:
    """Return `data` if it reads as `expected` in `section` and as before in all others.

    :raises ChangeRefused: if it does not, because lines around the edit would be read differently.
    """
    what = f"Could not edit [{section}] in {document.path or 'the file'}"
    try:
        after = document.reparse(data)
    except UnparsableFile as error:
        raise ChangeRefused(what, f"the result would not parse: line {error.lineno}: {error.why}") from None
    edited = after.section(section)
    values = None if edited is None else edited.values
    if values != expected or _other_sections(document, section) != _other_sections(after, section):
        raise ChangeRefused(what, "adjacent lines would be read differently", "Edit that section by hand")
    return data


def _other_sections(document: Document, section: str) -> list[tuple[str, dict[str, str]]]:
    return [(other.name, other.values) for other in document.sections if other.name != section]
