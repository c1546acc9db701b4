"""Lossless edits of a shared file: bytes in, bytes out, every byte outside the edited lines unchanged.

An :class:`Editor` changes any number of sections of one file and verifies them together: the new bytes are
parsed once, and every other setting must read as before. Its cost grows with the file and with the edits, not
with their product. The functions make one edit. Edits are idempotent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from itertools import accumulate, takewhile

from keyturn.awsconfig.parser import DEFAULT, Document, FileKind, Item, Section, parse_sections
from keyturn.awsconfig.section_names import check_header, require_unique_name, sections_by_name
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
    """Return the file with settings of one section set; see :meth:`Editor.set_items`."""
    return edit(document, lambda editor: editor.set_items(section, items, before_key=before_key))


def remove_items(document: Document, section: str, keys: Collection[str]) -> bytes:
    """Return the file without settings of one section; see :meth:`Editor.remove_items`."""
    return edit(document, lambda editor: editor.remove_items(section, keys))


def edit(document: Document, change: Callable[[Editor], None]) -> bytes:
    """Return the file after `change`. Raises what that raises, and as :meth:`Editor.finish`."""
    editor = Editor(document)
    change(editor)
    return editor.finish()


@dataclass(slots=True)
class _Chunk:
    """One part of the file: the text before the first section, or a section from its header to the next."""

    text: bytes
    before: int | None
    """Index of the chunk before it, or of an earlier one if that was empty when it was looked up."""
    header: str | None = None
    """None for the text before the first section, and for a section that was removed."""
    values: dict[str, str] | None = None
    """The own settings of an edited section by key; None while it is as it was."""
    section: Section | None = None
    """The section as :attr:`text` reads, with lines counted from its header, once it was parsed."""


class Editor:
    """Edits of one file. Each changes one section and costs as much as that section is long; :meth:`finish`
    puts the sections together and verifies the file.

    After an edit that raises, the editor must not be used any more.
    """

    def __init__(self, document: Document) -> None:
        self.document = document
        self.newline = document.newline.encode()
        """The line end of the file."""
        sections = document.sections
        preamble = document.data[: sections[0].start] if sections else document.data
        self._chunks = [_Chunk(preamble, None)]
        for at, section in enumerate(sections):
            self._chunks.append(_Chunk(section.text(document), at, section.name))
        self._by_header = {section.name: at for at, section in enumerate(sections, 1)}
        self._by_name = sections_by_name(document)
        self._is_changed = False

    @property
    def kind(self) -> FileKind:
        """The kind of the file."""
        return self.document.kind

    @property
    def headers(self) -> tuple[str, ...]:
        """The headers of all sections, in file order."""
        return tuple([chunk.header for chunk in self._chunks if chunk.header is not None])

    def has_section(self, section: str) -> bool:
        return section in self._by_header

    def values(self, section: str) -> dict[str, str]:
        """Return the own values of a section by key, as edited so far; empty if there is no such section."""
        at = self._by_header.get(section)
        if at is None:
            return {}
        chunk = self._chunks[at]
        if chunk.values is not None:
            return dict(chunk.values)
        existing = self.document.section(section)
        return existing.values if existing is not None else {}

    def text(self, section: str) -> bytes:
        """Return the text of a section, from its header to the next one; empty if there is no such
        section.
        """
        at = self._by_header.get(section)
        return b"" if at is None else self._chunks[at].text

    def is_last(self, section: str) -> bool:
        """Return True if nothing follows a section in the file."""
        return self._last() == self._by_header[section]

    def separator(self) -> bytes:
        """Return the text between the end of the file and an appended section: a missing line end, then a
        blank line; empty for an empty file.
        """
        last = self._last()
        if last is None:
            return b""
        return self._with_line_end(self._chunks[last].text)[len(self._chunks[last].text) :] + self.newline

    def set_items(self, section: str, items: Mapping[str, str], *, before_key: str | None = None) -> None:
        """Set `items` in `section`: existing values are replaced in place, missing ones are added.

        :param before_key: insert missing items before this key if the section has it, otherwise after the
            last item. A missing section is appended to the file.
        :raises UsageError: if some AWS SDK would misread a name, key or value; the message omits the value.
        :raises ChangeRefused: if the section is `[DEFAULT]`, or one of several that name the same profile.
        """
        for key, value in items.items():
            check_item(key, value)
        self._set(section, items, before_key)

    def restore_items(self, section: str, items: Mapping[str, str]) -> None:
        """Set values that were in a shared file before; see :meth:`set_items`.

        Accepts everything that botocore reads back unchanged, including nested blocks and multi-line values.

        :raises ChangeRefused: as :meth:`set_items`, and if botocore would not read a key or value back
            unchanged.
        """
        self._set(section, items, None)

    def remove_items(self, section: str, keys: Collection[str]) -> None:
        """Remove `keys` from `section`. Comments stay, also those between the lines of a removed value.

        :raises ChangeRefused: if the section is `[DEFAULT]` or one of several that name the same profile, or
            a key would still be inherited from `[DEFAULT]`.
        """
        self._refuse_default(section)
        if section not in self._by_header:
            return
        self._require_unique_name(section)
        inherited = sorted(set(keys) & set(self.document.defaults))
        if inherited:
            raise ChangeRefused(
                f"Could not remove {', '.join(inherited)} from [{section}]",
                f"[DEFAULT] of {self.document.path or 'the file'} adds it to every section",
                "Move it out of [DEFAULT] first",
            )
        values = self.values(section)
        if not values.keys().isdisjoint(keys):
            expected = {key: value for key, value in values.items() if key not in keys}
            self._put(section, self.text_without(section, keys), expected)

    def text_without(self, section: str, keys: Collection[str]) -> bytes:
        """Return the text of a section as :meth:`remove_items` would leave it."""
        lines = self.text(section).splitlines(keepends=True)
        for item in self._parsed(section).items if lines else ():
            if item.key in keys:
                for number in _value_lines(lines, item):
                    lines[number] = b""
        return b"".join(lines)

    def replace_section(self, section: str, text: bytes | None) -> None:
        """Replace the whole section, from its header to the next one, with `text`. A missing section is
        appended to the file. None removes the section.

        :param text: that one section, or only blank lines and comments.
        :raises UsageError: if `text` holds anything else.
        :raises ChangeRefused: if the section is `[DEFAULT]` or one of several that name the same profile, or
            the lines after it would become part of a value.
        """
        self._refuse_default(section)
        self._require_unique_name(section)
        expected = None if text is None else _parse_single_section(text, section)
        new = text or b""
        if section not in self._by_header:
            if not new:
                return
            self._end_last_line()
            self._append(section, new, expected)
            return
        if new and not self.is_last(section):
            new = self._with_line_end(new)
        self._put(section, new, expected)

    def append_section(self, section: str, lead: bytes = b"") -> None:
        """Append a section without settings.

        :param lead: text between the end of the file and the header.
        """
        self._require_unique_name(section)
        self._append(section, b"[" + section.encode() + b"]" + self.newline, {}, lead)

    def remove_section(self, section: str, *, rest: bytes = b"", lead: bytes = b"") -> None:
        """Remove a section.

        :param rest: blank lines and comments that stay in its place.
        :param lead: text that is removed before it if it is there. Two lines never become one.
        """
        at = self._by_header[section]
        self.replace_section(section, rest or None)
        if not lead or not self._cut_before(at, lead):
            return
        before, after = self._previous(at), self._following(at - 1)
        if before is not None and after and not after.startswith((b"\n", b"\r")):
            self._chunks[before].text = self._with_line_end(self._chunks[before].text)

    def cut_end(self, text: bytes) -> None:
        """Remove `text` from the end of the file if it is there."""
        self._cut_before(len(self._chunks), text)

    def ends_with(self, text: bytes) -> bool:
        """Return True if the file ends with `text`."""
        return self._text_before(len(self._chunks), len(text)).endswith(text)

    def finish(self) -> bytes:
        """Return the new file.

        :raises ChangeRefused: if it would not read as intended, because lines around an edit would be read
            differently.
        """
        data = b"".join([chunk.text for chunk in self._chunks])
        if not self._is_changed or data == self.document.data:
            return self.document.data
        try:
            after = self.document.reparse(data)
        except UnparsableFile as error:
            section = self._section_at_line(error.lineno)
            raise ChangeRefused(
                self._what(section), f"the result would not parse: line {error.lineno}: {error.why}"
            ) from None
        expected = [
            (chunk.header, self.document.sections[at - 1].values if chunk.values is None else chunk.values)
            for at, chunk in enumerate(self._chunks)
            if chunk.header is not None
        ]
        found = [(section.name, section.values) for section in after.sections]
        if found != expected:
            same = takewhile(lambda pair: pair[0] == pair[1], zip(found, expected, strict=False))
            raise self._misread(self._edited_section(sum(1 for _ in same)))
        return data

    def _edited_section(self, number: int) -> str:
        """Return the edited section at or before the section `number`, counted from 0, else the first one
        after it.
        """
        headers = [chunk for chunk in self._chunks if chunk.header is not None]
        near = [*reversed(headers[: number + 1]), *headers[number + 1 :]]
        return next((chunk.header for chunk in near if chunk.header and chunk.values is not None), "")

    def _what(self, section: str) -> str:
        return f"Could not edit [{section}] in {self.document.path or 'the file'}"

    def _misread(self, section: str) -> ChangeRefused:
        return ChangeRefused(
            self._what(section), "adjacent lines would be read differently", "Edit that section by hand"
        )

    def _section_at_line(self, line: int) -> str:
        """Return the edited section at or before a line of the new file, else the first one after it."""
        starts = accumulate([len(chunk.text.splitlines()) for chunk in self._chunks], initial=1)
        headers = [
            start for chunk, start in zip(self._chunks, starts, strict=False) if chunk.header is not None
        ]
        return self._edited_section(sum(start <= line for start in headers) - 1)

    def _refuse_default(self, section: str) -> None:
        if section == DEFAULT:
            raise ChangeRefused(
                f"Could not edit [DEFAULT] in {self.document.path or 'the file'}",
                "its settings apply to every section",
                "Edit it by hand",
            )

    def _require_unique_name(self, section: str) -> None:
        require_unique_name(self.document, section, self._by_name)

    def _parsed(self, section: str) -> Section:
        """Return a section as its text reads now, with lines counted from its header, which is line 1."""
        chunk = self._chunks[self._by_header[section]]
        if chunk.section is None:
            chunk.section = parse_sections(chunk.text, self.document.path)[0]
        return chunk.section

    def _put(self, section: str, text: bytes, expected: dict[str, str] | None) -> None:
        """Replace the text of a section and check how it reads by itself."""
        at = self._by_header[section]
        chunk = self._chunks[at]
        chunk.section = self._check(section, text, expected)
        chunk.text, chunk.values, self._is_changed = text, expected or {}, True
        if expected is None:
            chunk.header = None
            del self._by_header[section]

    def _check(self, section: str, text: bytes, expected: dict[str, str] | None) -> Section | None:
        """Return the section that `text` holds, None if it holds none.

        :raises ChangeRefused: if it does not read as `expected`.
        """
        try:
            sections = parse_sections(text, self.document.path)
        except UnparsableFile as error:
            raise ChangeRefused(self._what(section), f"the result would not parse: {error.why}") from None
        found = {found.name: found.values for found in sections}
        if found != ({} if expected is None else {section: expected}):
            raise self._misread(section)
        return sections[0] if sections else None

    def _append(self, section: str, text: bytes, expected: dict[str, str] | None, lead: bytes = b"") -> None:
        parsed = self._check(section, text, expected)
        last = self._last()
        if lead:
            self._chunks[last if last is not None else 0].text += lead
        if expected is None:
            self._chunks.append(_Chunk(text, len(self._chunks) - 1))
        else:
            self._by_header[section] = len(self._chunks)
            self._chunks.append(_Chunk(text, len(self._chunks) - 1, section, expected, parsed))
        self._is_changed = True

    def _previous(self, at: int) -> int | None:
        """Return the index of the last chunk before `at` that has text."""
        passed = []
        before: int | None = at - 1 if at == len(self._chunks) else self._chunks[at].before
        while before is not None and not self._chunks[before].text:
            passed.append(before)
            before = self._chunks[before].before
        for index in passed:
            self._chunks[index].before = before  # a removed section is not looked at again
        return before

    def _last(self) -> int | None:
        """Return the index of the last chunk that has text."""
        return self._previous(len(self._chunks))

    def _text_before(self, at: int, length: int) -> bytes:
        """Return the text before a chunk, at least `length` bytes of it if there are as many."""
        text = b""
        before = self._previous(at)
        while before is not None and len(text) < length:
            text = self._chunks[before].text + text
            before = self._previous(before)
        return text

    def _cut_before(self, at: int, text: bytes) -> bool:
        """Remove `text` before a chunk. Return False if it is not there."""
        if not self._text_before(at, len(text)).endswith(text):
            return False
        left = len(text)
        while left:
            before = self._previous(at)
            if before is None:
                break
            chunk = self._chunks[before]
            cut = min(left, len(chunk.text))
            chunk.text, left = chunk.text[: len(chunk.text) - cut], left - cut
        self._is_changed = True
        return True

    def _following(self, at: int) -> bytes:
        """Return the text of the first chunk after `at` that has text; empty if there is none."""
        at += 1
        while at < len(self._chunks) and not self._chunks[at].text:
            at += 1
        return self._chunks[at].text if at < len(self._chunks) else b""

    def _end_last_line(self) -> None:
        last = self._last()
        if last is not None:
            self._chunks[last].text = self._with_line_end(self._chunks[last].text)

    def _with_line_end(self, text: bytes) -> bytes:
        """Return `text` with a line end after its last line."""
        return text if not text or text.endswith((b"\n", b"\r")) else text + self.newline

    def _set(self, section: str, items: Mapping[str, str], before_key: str | None) -> None:
        self._refuse_default(section)
        self._require_unique_name(section)
        if section not in self._by_header:
            check_header(section)
            self._end_last_line()
            last = self._last()
            is_blank = last is None or not self._chunks[last].text.splitlines()[-1].strip()
            lead = b"" if is_blank else self.newline
            text = b"[" + section.encode() + b"]" + self.newline
            for key, value in items.items():
                text += self._format_setting(b"", key, value)
            self._append(section, text, dict(items), lead)
            return
        existing = self._parsed(section)
        own = {item.key: item for item in existing.items}
        changed = {key: value for key, value in items.items() if key in own and own[key].value != value}
        missing = {key: value for key, value in items.items() if key not in own}
        if not changed and not missing:
            return
        lines = self.text(section).splitlines(keepends=True)
        for key, value in changed.items():
            self._replace(lines, own[key], value)
        if missing:
            self._insert(lines, existing, missing, own.get(before_key or ""))
        expected = {key: item.value for key, item in own.items()} | dict(items)
        self._put(section, b"".join(lines), expected)

    def _insert(
        self, lines: list[bytes], section: Section, items: Mapping[str, str], before: Item | None
    ) -> None:
        """Add lines with the indentation of a neighbouring line.

        A line that is indented more than its neighbour, or less than a header that follows, would make one of
        them part of the other's value.
        """
        if before is not None:
            index, neighbour = before.line - 1, lines[before.line - 1]
        elif section.items:
            index, neighbour = section.items[-1].line_end, lines[section.items[-1].line - 1]
        else:
            index, neighbour = 1, (self._following(self._by_header[section.name]) or lines[0]).splitlines()[0]
        text = b"".join(self._format_setting(_indent(neighbour), key, value) for key, value in items.items())
        if not lines[index - 1].endswith((b"\n", b"\r")):
            # The last line of the file has no line end, or an earlier edit emptied the line.
            lines[index - 1] = self._with_line_end(lines[index - 1])
        lines.insert(index, text)

    def _replace(self, lines: list[bytes], item: Item, value: str) -> None:
        """Replace a value; key, delimiter, spacing and the comments between its lines stay."""
        old = lines[item.line - 1]
        head = _SETTING_START.match(old)
        if head is None:
            raise ValueError("the first line of a setting has no delimiter")
        line_end = old[len(old.rstrip(b"\r\n")) :]
        for number in _value_lines(lines, item)[1:]:
            lines[number] = b""
        space = head["space"] or (b" " if head["name"][-1:] in (b" ", b"\t") else b"")
        formatted = self._format_value(_indent(old), value)
        lines[item.line - 1] = head["name"] + head["delimiter"] + space + formatted + line_end

    def _format_setting(self, indent: bytes, key: str, value: str) -> bytes:
        return indent + key.encode() + b" = " + self._format_value(indent, value) + self.newline

    def _format_value(self, indent: bytes, value: str) -> bytes:
        """Return a value as written after the delimiter; continuation lines are indented more than the
        key.
        """
        first, *rest = value.split("\n")
        return first.encode() + b"".join(
            self.newline + (indent + b"    " + line.encode() if line else b"") for line in rest
        )


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


def _value_lines(lines: list[bytes], item: Item) -> list[int]:
    """Return the indexes of the lines that hold a value, without blank lines and comments between them."""
    first = item.line - 1
    inner = range(item.line, item.line_end)
    return [first, *(n for n in inner if lines[n].decode().strip()[:1] not in ("", "#", ";"))]


def _indent(line: bytes) -> bytes:
    text = line.decode()
    return text[: len(text) - len(text.lstrip())].encode() if text.strip() else b""


def _parse_single_section(text: bytes, section: str) -> dict[str, str] | None:
    """Return the settings that `text` holds under `[section]`; None if it has no section.

    :raises UsageError: if it contains another section, or botocore does not accept it.
    """
    try:
        sections = parse_sections(text)
    except UnparsableFile as error:
        raise UsageError(f"Invalid text for [{section}]", error.why) from None
    if not sections:
        return None
    if len(sections) > 1 or sections[0].name != section:
        raise UsageError(f"Invalid text for [{section}]", "it contains another section")
    return sections[0].values
