"""Section headers and profile names: their mapping by botocore's rules, in both directions."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence

from keyturn.awsconfig.parser import DEFAULT, Document, FileKind, Section
from keyturn.model.errors import ChangeRefused, UsageError

#: Tables of botocore by the word that a header of the config file begins with.
_TABLES = {"profile": "profiles", "sso-session": "sso_sessions", "services": "services"}
_QUOTING = re.compile(r"""["'\\]""")
#: Characters that some reader takes as a line end, or that a terminal interprets.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def header_for(kind: FileKind, profile: str) -> str:
    """Return the header text, without brackets, for a new section of `profile`.

    :raises UsageError: if no header reads back as exactly this profile.
    """
    header = profile if kind is FileKind.CREDENTIALS or profile == "default" else f"profile {_quote(profile)}"
    check_header(header)
    if profile_of(kind, header) != profile:
        raise UsageError(
            f"Invalid profile name {profile}", "no section header can express it", "Choose another name"
        )
    return header


def check_header(header: str) -> None:
    """:raises UsageError: if the header would not be read back unchanged, or would end its line early."""
    if not header or header == DEFAULT:
        raise UsageError(
            "Invalid profile name", f"{header or 'an empty name'} is not allowed", "Choose another name"
        )
    if _CONTROL.search(header) or header != header.strip() or "[" in header or "]" in header:
        raise UsageError(
            f"Invalid section header [{header}]",
            "brackets, control characters and spaces at either end are not allowed",
            "Choose another name",
        )


def profile_of(kind: FileKind, section: str) -> str | None:
    """Return the profile that a header names; None if botocore drops the section or uses it for something
    else."""
    if kind is FileKind.CREDENTIALS:
        return None if section == DEFAULT else section
    table, name = entry_of(section)
    return name if table == "profiles" else None


def entry_of(section: str) -> tuple[str, str | None]:
    """Return the table and name under which botocore stores a section of the config file.

    The table is `profiles`, `sso_sessions`, `services`, or `""` for any other section. The name is None for a
    header that botocore silently drops.
    """
    for word, table in _TABLES.items():
        if section.startswith(word):
            return table, _second_word(section)
    if section == "default":
        return "profiles", section
    return ("", None) if section == DEFAULT else ("", section)


Entry = tuple[str, str]
"""The table and name under which botocore stores a section of the config file."""


def sections_by_name(document: Document) -> Mapping[Entry, Sequence[Section]]:
    """Return the sections that botocore stores in a table, by table and name. A credentials file has no
    tables, because its headers are the names.
    """
    found: dict[Entry, list[Section]] = {}
    for section in document.sections if document.kind is FileKind.CONFIG else ():
        table, name = entry_of(section.name)
        if table and name is not None:
            found.setdefault((table, name), []).append(section)
    return found


def require_unique_name(
    document: Document, header: str, by_name: Mapping[Entry, Sequence[Section]] | None = None
) -> None:
    """Check that no section with another header has the name of `header`, because an edit could then have no
    effect.

    :param by_name: the sections of the document as :func:`sections_by_name` returns them.
    :raises ChangeRefused: if there are such sections.
    """
    table, name = entry_of(header)
    if by_name is None:
        by_name = sections_by_name(document)
    others = [section for section in by_name.get((table, name or ""), ()) if section.name != header]
    if others:
        lines = ", ".join(f"[{section.name}] on line {section.line}" for section in others)
        raise ChangeRefused(
            f"Could not edit [{header}] in {document.path or 'the file'}",
            f"the name is also used by {lines}, and AWS tools read only the last of them",
            "Merge them into one section first",
        )


def duplicate_sections(document: Document) -> Iterator[tuple[Section, Section]]:
    """Yield pairs of sections of which botocore reads the second instead of the first."""
    if document.kind is FileKind.CREDENTIALS:
        return
    last_by_entry: dict[tuple[str, str | None], Section] = {}
    for section in document.sections:
        entry = entry_of(section.name)
        if not entry[0] or entry[1] is None:
            continue
        if entry in last_by_entry:
            yield last_by_entry[entry], section
        last_by_entry[entry] = section


def _second_word(header: str) -> str | None:
    """Return the second of exactly two words, split like a shell; None for anything else."""
    if _QUOTING.search(header) is None:
        words = header.replace("\t", " ").split(" ")
        if len(words) == 2 and words[0] and words[1]:
            return words[1]
        words = [word for word in words if word]
    else:
        try:
            words = shlex.split(header)
        except ValueError:
            return None
    return words[1] if len(words) == 2 else None


def needs_quotes(name: str) -> bool:
    """Return True if a header of the config file must have quotes around a profile's name."""
    return not name or _QUOTING.search(name) is not None or re.search(r"\s", name) is not None


def _quote(name: str) -> str:
    if not needs_quotes(name):
        return name
    return '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'
