"""Lines of the shared files that AWS tools read differently from how they look, or from each other. Pure.

AWS CLI, boto3 and botocore share one reader. What the SDKs for Java, JavaScript and Go do is in their
file readers; see also https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from keyturn.awsconfig.loader import SharedConfig
from keyturn.awsconfig.parser import DEFAULT, Document, FileKind, Item, Section
from keyturn.awsconfig.section_names import duplicate_sections, entry_of, profile_of
from keyturn.awsconfig.value_faults import KEY_SETTINGS, value_fault
from keyturn.model.profile import FileWarning

#: Settings that make a section look like a profile.
_CREDENTIAL_HINTS = frozenset(
    {"aws_access_key_id", "role_arn", "credential_process", "sso_account_id", "source_profile"}
)
#: Settings that are command lines, in which quotes around a program have a meaning.
_COMMANDS = ("credential_process",)
_WORDS = ("profile", "sso-session", "services")
_ODD_KEY = re.compile(rb"(?:^|[\r\n])[ \t]*(?:\w*[A-Z]\w*[ \t]*=|\w+[ \t]*:)")
#: What :func:`_of_value` looks at: quotes at the start, a comment, several lines.
_ODD_VALUE = re.compile(r"^[\"']|[ \t][#;]|\n")
_SETTING = re.compile(r"[A-Za-z0-9_]+[ \t]*=")


def find(shared: SharedConfig) -> tuple[FileWarning, ...]:
    """Return the misread lines of both files in file order, config file first."""
    return (
        *_of_file(shared.config, shared.config_path),
        *_of_file(shared.credentials, shared.credentials_path),
    )


def _of_file(document: Document | None, path: str) -> list[FileWarning]:
    if document is None:
        return []
    has_odd_keys = _ODD_KEY.search(document.data) is not None
    found = [
        FileWarning(path, line, reason, profile_of(document.kind, section.name))
        for section in document.sections
        for line, reason in _of_section(document, section, has_odd_keys=has_odd_keys)
    ]
    found += [
        FileWarning(
            path,
            later.line,
            f"[{later.name}] replaces [{earlier.name}] on line {earlier.line}, and other SDKs merge them",
            profile_of(document.kind, later.name),
        )
        for earlier, later in duplicate_sections(document)
    ]
    return sorted(found, key=lambda warning: warning.line)


def _of_section(document: Document, section: Section, *, has_odd_keys: bool) -> Iterator[tuple[int, str]]:
    """Yield line and reason of each misread line of a section.

    :param has_odd_keys: the file may have capital letters in a key or colons after it.
    """
    if section.name == DEFAULT:
        if section.items:
            yield section.line, "settings in [DEFAULT] apply to every section of the file"
    else:
        is_config = document.kind is FileKind.CONFIG
        reason = (_config_header if is_config else _credentials_header)(section)
        if reason is not None:
            yield section.line, reason
    # Most files have no such line, and a plain dict of values costs less than the items.
    if not has_odd_keys and not any(map(_ODD_VALUE.search, section.values.values())):
        return
    lines = section.text(document).splitlines()
    for item in section.items:
        yield from ((item.line, reason) for reason in _of_value(item))
        raw = lines[item.line - section.line].decode("utf-8", "replace")
        yield from ((item.line, reason) for reason in _of_key(item.key, raw))


def _config_header(section: Section) -> str | None:
    name = section.name
    table, entry = entry_of(name)
    if table and entry is None:
        return f"[{name}] is ignored: AWS tools require exactly two words, or quotes"
    if not table:
        reason = f"[{name}] is not a profile: its header must be [profile NAME]"
        return reason if _looks_like(section) else None
    if name != "default" and name.split(maxsplit=1)[0] not in _WORDS:
        return f"[{name}] is {table.rstrip('s').replace('_', '-')} {entry} to the AWS CLI and boto3 alone"
    if "\\" in name:
        return f"[{name}] is read as {entry}, without its backslash"
    return _cut_header(name)


def _credentials_header(section: Section) -> str | None:
    name = section.name
    if name.split(maxsplit=1)[:1] == ["profile"] and name != "profile":
        return f'[{name}] is a profile called "{name}" to the AWS CLI and boto3, and none to other SDKs'
    if name != name.strip() or name[:1] in "\"'":
        return f"blanks and quotes in [{name}] are a part of the profile's name"
    return _cut_header(name)


def _cut_header(name: str) -> str | None:
    return f"[{name}] is cut at the # or ; by other SDKs" if re.search("[#;]", name) else None


def _looks_like(section: Section) -> bool:
    """Return True if a section that AWS tools do not know looks like a profile or a sign-in session."""
    words = section.name.split()
    return section.name.strip().lower().startswith(("profile ", "sso-session ")) or (
        len(words) == 1 and any(item.key in _CREDENTIAL_HINTS for item in section.items)
    )


def _of_value(item: Item) -> Iterator[str]:
    if "\n" in item.value:
        if item.value[:1] != "\n" and any(map(_SETTING.match, item.value.split("\n")[1:])):
            yield f"the indented lines after {item.key} are read as a part of its value"
        return
    if item.key in KEY_SETTINGS:
        return  # the problem of the profile names it
    fault = value_fault(item.value)
    if fault is not None and not (item.key in _COMMANDS and "quotes" in fault):
        yield f"{item.key} {fault}"


def _of_key(key: str, line: str) -> Iterator[str]:
    """Yield what is misread of the key in a setting's line."""
    before, colon, _ = line.partition(":")
    if colon and "=" not in before:
        yield f"{key} is set with a colon, which the SDKs for Java and JavaScript do not read"
    written = line.strip()[: len(key)]
    if written != key:
        yield f"{written} is not read by the SDKs for Java and JavaScript, which expect {key}"
