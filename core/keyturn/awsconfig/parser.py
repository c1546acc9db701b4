"""Parser for a shared file that reads exactly as botocore does and records the line of everything.

botocore uses `configparser.RawConfigParser()` with its defaults (strict; `=` and `:`; whole-line comments `#`
and `;`; lower-cased keys; `[DEFAULT]` inherited by every section), then parses a value that begins with a
line break as a nested block. This parser gives the same result or rejects the same file; the tests compare
generated files with the installed botocore. The encoding is UTF-8: botocore uses the encoding of the locale,
which is UTF-8 on every platform that keyturn supports.
"""

from __future__ import annotations

from enum import StrEnum
from itertools import accumulate
from typing import NamedTuple, NoReturn, final

from keyturn.model.errors import UnparsableFile

#: The section whose keys configparser adds to every other section.
DEFAULT = "DEFAULT"

#: Number of contents of one file that :meth:`Document.reparse` keeps.
MAX_VERSIONS = 12

#: A setting as botocore returns it: text, or a nested block one level deep.
Value = str | dict[str, str]


class FileKind(StrEnum):
    """Config file or credentials file. They differ in how section headers name profiles."""

    CONFIG = "config"
    CREDENTIALS = "credentials"


class Item(NamedTuple):
    """One setting. Its `repr` omits the value, which may be a secret."""

    key: str
    """Lower-cased, as in configparser."""
    value: str
    """As configparser returns it: continuation lines joined by line breaks, a nested block unparsed."""
    line: int
    """1-based line of the key."""
    line_end: int
    """1-based last line of the value."""

    def __repr__(self) -> str:
        return f"Item({self.key!r}, line={self.line})"


Row = tuple[str, str, int, int]
"""The fields of an :class:`Item` as a plain tuple, because plain tuples of plain values cost the garbage
collector nothing."""


@final
class Section:
    """A header and the lines below it, up to the next header."""

    __slots__ = ("_rows", "end", "line", "line_end", "name", "start")

    def __init__(
        self, name: str, rows: tuple[Row, ...], *, line: int, line_end: int, start: int, end: int
    ) -> None:
        self.name = name
        """The text between the brackets, as configparser reads it."""
        self.line = line
        """1-based line of the header."""
        self.line_end = line_end
        """1-based last line before the next header."""
        self.start = start
        """Offset of the header line in the file's bytes."""
        self.end = end
        """Offset of the next header line, or the length of the file."""
        self._rows = rows

    def __repr__(self) -> str:
        return f"Section({self.name!r}, line={self.line}, items={self.items!r})"

    @property
    def items(self) -> tuple[Item, ...]:
        """The section's own settings, without those of `[DEFAULT]`, in file order."""
        return tuple([Item(*row) for row in self._rows])

    @property
    def values(self) -> dict[str, str]:
        """The values of :attr:`items` by key."""
        return {row[0]: row[1] for row in self._rows}

    def text(self, document: Document) -> bytes:
        """Return the section's bytes in the file that it was read from."""
        return document.data[self.start : self.end]

    def item(self, key: str) -> Item | None:
        """Return the section's own setting `key`; settings of `[DEFAULT]` are not included."""
        for row in self._rows:
            if row[0] == key:
                return Item(*row)
        return None


class Settings(dict[str, Value]):
    """The settings of one section by key: a plain dict, except that its `repr` shows no values."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Settings({', '.join(self)})"


@final
class Document:
    """A file that botocore accepts."""

    __slots__ = ("_by_name", "_versions", "data", "defaults", "kind", "path", "sections")

    def __init__(self, data: bytes, path: str, kind: FileKind, sections: tuple[Section, ...]) -> None:
        self.data = data
        self.path = path
        self.kind = kind
        self.sections = sections
        """In file order, including every `[DEFAULT]`."""
        self.defaults = {
            item.key: item for section in sections if section.name == DEFAULT for item in section.items
        }
        """The settings that `[DEFAULT]` adds to every section."""
        self._by_name = {section.name: section for section in reversed(sections)}
        """The first section with each header."""
        self._versions = {data: sections}
        """The last contents of the file, parsed. Documents of the same file share it."""

    def __repr__(self) -> str:
        return f"Document({self.path!r}, {len(self.sections)} sections)"

    def reparse(self, data: bytes) -> Document:
        """Return the same file with the content `data`.

        The last :data:`MAX_VERSIONS` contents of a file are not parsed again, because an edit is applied,
        verified, written and read back.

        :raises UnparsableFile: if botocore rejects it.
        """
        sections = self._versions.get(data)
        if sections is None:
            document = parse(data, self.path, self.kind)
            self._versions[data] = document.sections
            while len(self._versions) > MAX_VERSIONS:
                self._versions.pop(next(iter(self._versions)), None)
        else:
            document = Document(data, self.path, self.kind, sections)
        document._versions = self._versions
        return document

    @property
    def newline(self) -> str:
        """The line end of the file's first line; a line feed if there is none."""
        first = next((at for at, byte in enumerate(self.data) if byte in b"\r\n"), None)
        if first is None:
            return "\n"
        return "\r\n" if self.data[first : first + 2] == b"\r\n" else chr(self.data[first])

    def section(self, name: str) -> Section | None:
        """Return the section with the header `[name]`."""
        return self._by_name.get(name)

    def values(self, name: str) -> dict[str, str]:
        """Return the own values of the section `[name]` by key; empty if there is no such section."""
        section = self.section(name)
        return section.values if section is not None else {}

    def item(self, section: Section, key: str) -> Item | None:
        """Return the setting `key` of a section as botocore sees it: its own, otherwise that of
        `[DEFAULT]`."""
        return section.item(key) or self.defaults.get(key)


def parse(data: bytes, path: str = "", kind: FileKind = FileKind.CONFIG) -> Document:
    """Parse one file.

    :param path: the file's path as the user gave it, for errors.
    :param kind: how its headers name profiles; does not affect what is accepted.
    :raises UnparsableFile: if botocore rejects the file; holds the line of the first error.
    """
    return Document(data, path, kind, parse_sections(data, path))


def parse_sections(data: bytes, path: str = "") -> tuple[Section, ...]:
    """Parse the sections of a file, or of a part of one that begins with a header; see :func:`parse`."""
    text = _decode(data, path)
    reader = _Reader(path)
    reader.read(text)
    offsets = (0, *accumulate(map(len, data.splitlines(keepends=True))))
    last = len(offsets) - 1
    ends = [*(line for _, line, _ in reader.sections[1:]), last + 1]
    sections = tuple(
        Section(name, tuple(rows), line=line, line_end=end - 1, start=offsets[line - 1], end=offsets[end - 1])
        for (name, line, rows), end in zip(reader.sections, ends, strict=False)
    )
    _check_blocks(reader.blocks, sections, path, text)
    return sections


def settings_of(document: Document, section: Section) -> Settings:
    """Return a section's settings as botocore does: `[DEFAULT]` is inherited, nested blocks are dicts."""
    values = section.values
    for key, item in document.defaults.items():
        values.setdefault(key, item.value)
    return Settings(
        {key: parse_nested(value) if value[:1] == "\n" else value for key, value in values.items()}
    )


def parse_nested(value: str) -> dict[str, str]:
    """Parse a nested block as botocore does.

    :raises ValueError: if a line has no `=`.
    """
    block = {}
    for line in value.splitlines():
        stripped = line.strip()
        if stripped:
            key, inner = stripped.split("=", 1)
            block[key.strip()] = inner.strip()
    return block


def refuse(path: str, line: int, reason: str) -> NoReturn:
    """:raises UnparsableFile: always. `reason` must never hold a value from the file."""
    raise UnparsableFile(
        f"{path or 'the file'}, line {line}",
        reason,
        "AWS tools reject the whole file until that line is fixed",
        path=path,
        lineno=line,
    )


def _decode(data: bytes, path: str) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = len(data[: error.start].splitlines()) + data[: error.start].endswith((b"\n", b"\r"))
        refuse(path, max(1, line), "invalid UTF-8")
    if text.startswith("\ufeff"):
        refuse(path, 1, "the file starts with a byte order mark")
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


class _Reader:
    """Line reader with configparser's rules. Stops at the first error, while configparser collects all of
    them."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.sections: list[tuple[str, int, list[Row]]] = []
        """Header, line of the header, settings."""
        self.blocks: list[tuple[str, Item]] = []
        """Section and setting of each nested block."""
        self.lines: dict[str, dict[str, int]] = {}
        """Line of each key, by section. A key may occur once, in all `[DEFAULT]` sections together."""
        self.key = ""
        self.parts: list[str] = []
        self.blanks = 0
        self.line = 0
        self.line_end = 0

    def read(self, text: str) -> None:
        level = 0
        for number, line in enumerate(text.split("\n"), 1):
            value = line.strip()
            if not value:
                self.blanks += 1
                continue
            start = value[0]
            if start in "#;":
                continue
            indent = 0 if line[0] == start else len(line) - len(line.lstrip())
            if indent > level and self.key:
                # A blank line inside a value is part of it; a comment line is not.
                self.parts += [""] * self.blanks
                self.parts.append(value)
                self.blanks, self.line_end = 0, number
                continue
            self._finish_setting()
            level = indent
            if start == "[" and (last := value.rfind("]")) > 1:
                self._header(value[1:last], number)
            else:
                self._setting(value, number)
        self._finish_setting()

    def _header(self, name: str, number: int) -> None:
        if name in self.lines and name != DEFAULT:
            first = next(line for header, line, _ in self.sections if header == name)
            refuse(self.path, number, f"duplicate section [{name}], first on line {first}")
        self.lines.setdefault(name, {})
        self.sections.append((name, number, []))

    def _setting(self, value: str, number: int) -> None:
        if not self.sections:
            refuse(self.path, number, "text before the first section header")
        delimiter, colon = value.find("="), value.find(":")
        if delimiter < 0 or 0 <= colon < delimiter:
            delimiter = colon
        if delimiter < 0:
            refuse(self.path, number, "neither a section header nor `key = value`")
        key = value[:delimiter].rstrip().lower()
        if not key:
            refuse(self.path, number, "no key before `=`")
        section = self.sections[-1][0]
        lines = self.lines[section]
        if key in lines:
            refuse(
                self.path, number, f"duplicate key {key} in section [{section}], first on line {lines[key]}"
            )
        lines[key] = self.line = self.line_end = number
        self.key, self.parts, self.blanks = key, [value[delimiter + 1 :].lstrip()], 0

    def _finish_setting(self) -> None:
        """Store the current setting, now that its last line is known."""
        if not self.key:
            return
        value = self.parts[0] if len(self.parts) == 1 else "\n".join(self.parts)
        row = (self.key, value, self.line, self.line_end)
        section = self.sections[-1]
        section[2].append(row)
        if value[:1] == "\n":
            self.blocks.append((section[0], Item(*row)))
        self.key = ""


def _check_blocks(
    blocks: list[tuple[str, Item]], sections: tuple[Section, ...], path: str, text: str
) -> None:
    """Reject nested blocks that botocore cannot parse. It parses a block of `[DEFAULT]` only if a section
    inherits it."""
    for name, item in blocks:
        try:
            parse_nested(item.value)
        except ValueError:
            if name != DEFAULT or _is_inherited(sections, item.key):
                line = _first_bad_line(item, text)
                refuse(path, line, f"a line without `=` in the nested block of {item.key}")


def _is_inherited(sections: tuple[Section, ...], key: str) -> bool:
    return any(section.name != DEFAULT and section.item(key) is None for section in sections)


def _first_bad_line(item: Item, text: str) -> int:
    """Return the line of the block's first piece without `=`. botocore also splits at separators that are not
    line ends."""
    lines = text.split("\n")
    for number in range(item.line + 1, item.line_end + 1):
        line = lines[number - 1].strip()
        is_comment = line[:1] in ("#", ";")
        if not is_comment and any(piece.strip() and "=" not in piece for piece in line.splitlines()):
            return number
    return item.line
