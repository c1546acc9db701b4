"""Which profile a section header names, by botocore's rules, and which header a profile gets."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator

from keyturn.awsconfig.parser import DEFAULT, Document, FileKind, Section
from keyturn.model.errors import ChangeRefused, UsageError

#: Profile names that every AWS SDK reads the same way (aws-facts 1.2).
_PORTABLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@%/:+-]*")
_RESERVED = ("profile", "sso-session", "services")
_QUOTING = re.compile(r"""["'\\]""")
#: Characters that end a line for some reader, or that a terminal obeys.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def header_for(kind: FileKind, profile: str) -> str:
    """The header text, without brackets, for a new section of `profile`.

    :raises UsageError: no header would be read back as this very profile.
    """
    header = profile if kind is FileKind.CREDENTIALS or profile == "default" else f"profile {_quote(profile)}"
    check_header(header)
    if profile_of(kind, header) != profile:
        raise UsageError(f"profile {profile}", "no section header can carry that name", "Choose another name")
    return header


def check_header(header: str) -> None:
    """:raises UsageError: the header would not be read back as it is, or would end its line early."""
    if not header or header == DEFAULT:
        raise UsageError(
            "a profile's name", f"{header or 'an empty one'} is not possible", "Choose another name"
        )
    if _CONTROL.search(header) or header != header.strip() or "[" in header or "]" in header:
        raise UsageError(
            f"section [{header}]",
            "brackets, control characters and spaces at either end cannot stand in a section header",
            "Choose another name",
        )


def is_portable(profile: str) -> bool:
    """Whether every AWS SDK reads the name the same way (aws-facts 1.2); asked of new names only."""
    if profile == "default":
        return True
    return bool(_PORTABLE.fullmatch(profile)) and not profile.startswith(_RESERVED) and profile != DEFAULT


def profile_of(kind: FileKind, section: str) -> str | None:
    """The profile that a header names; None where botocore takes the section for something else, or drops it."""
    if kind is FileKind.CREDENTIALS:
        return None if section == DEFAULT else section
    table, name = entry_of(section)
    return name if table == "profiles" else None


def entry_of(section: str) -> tuple[str, str | None]:
    """Where botocore files a section of the config file: the table (`profiles`, `sso_sessions`, `services`, or `""`
    for one that is none of these) and the name in it, None for a header that it silently drops."""
    if section.startswith("profile"):
        return "profiles", _second_word(section)
    if section.startswith("sso-session"):
        return "sso_sessions", _second_word(section)
    if section.startswith("services"):
        return "services", _second_word(section)
    if section == "default":
        return "profiles", section
    return ("", None) if section == DEFAULT else ("", section)


def sections_of(document: Document, profile: str) -> tuple[Section, ...]:
    """All sections of a file that name `profile`. Where there are several, botocore takes the last alone."""
    return tuple(
        section for section in document.sections if profile_of(document.kind, section.name) == profile
    )


def same_name_sections(document: Document, header: str) -> tuple[Section, ...]:
    """Sections under another header that botocore files under the same name as `header`."""
    if document.kind is FileKind.CREDENTIALS:
        return ()
    entry = entry_of(header)
    if not entry[0] or entry[1] is None:
        return ()
    return tuple(s for s in _candidates(document, entry[0]) if s.name != header and entry_of(s.name) == entry)


def require_unique_name(document: Document, header: str) -> None:
    """:raises Protected: more than one section stands for what `header` names, so an edit could be without effect."""
    others = same_name_sections(document, header)
    if others:
        lines = ", ".join(f"[{section.name}] on line {section.line}" for section in others)
        raise ChangeRefused(
            f"an edit of [{header}] in {document.path or 'the file'}",
            f"the same name also stands as {lines}, and AWS tools read only the last of them",
            "Join them into one section first",
        )


def duplicate_sections(document: Document) -> Iterator[tuple[Section, Section]]:
    """Pairs of sections of which botocore reads the second in place of the first."""
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


def _candidates(document: Document, table: str) -> Iterable[Section]:
    word = {"profiles": "profile", "sso_sessions": "sso-session", "services": "services"}[table]
    return (s for s in document.sections if s.name.startswith(word) or s.name == "default")


def _second_word(header: str) -> str | None:
    """The second of exactly two words, split as a shell would; None for anything else."""
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


def _quote(name: str) -> str:
    if name and not _QUOTING.search(name) and not re.search(r"\s", name):
        return name
    return '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'
