"""The `credential_process` line that makes AWS clients call keyturn: format it and recognize it."""

from __future__ import annotations

import re
import shlex

from keyturn.model.errors import UsageError
from keyturn.model.text import is_safe

#: The command that the line calls.
VERB = "credential-process"
#: Words that need no quotes. `=` is not allowed at the start, because zsh expands it, nor are `,` and `-`,
#: because older SDKs for Go drop the setting at a word like `,x` or `-5`.
_PLAIN = re.compile(r"(?:[A-Za-z0-9_.@%/:+]|[^\x00-\x7f\s])(?:[A-Za-z0-9_.@%/:+=,-]|[^\x00-\x7f\s])*")
#: What shlex splits words at.
_BLANKS = re.compile(r"[ \t\r\n]+")
#: Characters that a POSIX shell or shlex interprets inside double quotes, or that end the value in some SDK's
#: parser.
_UNQUOTABLE = frozenset("\"\\$`'\n\r#;")


def check_name(profile: str) -> None:
    """Check that a `credential_process` line can call a profile of that name.

    :raises UsageError: if it cannot.
    """
    format_line("keyturn", profile)


def format_line(program: str, profile: str) -> str:
    """Return the `credential_process` value that calls `program` for `profile`.

    botocore splits it like a POSIX shell without running one; the other SDKs pass it to `sh -c`. Therefore
    only double quotes are used, around text that neither expands. The value never begins with a quote: older
    SDKs for Go take only what is inside the first pair of quotes then, and newer ones, like PHP, remove
    quotes around the whole value. A path that needs quotes has them after its first character
    (`/"opt/my tools/keyturn"`).

    :raises UsageError: if the name or the path cannot be written that way.
    """
    words = [program, VERB, *(["--"] if profile.startswith("-") else []), profile]
    text = " ".join([_quote_program(program), *(_quote_word(word) for word in words[1:])])
    if shlex.split(text) != words:
        raise UsageError(
            f"Invalid profile name {profile}", "the name cannot be used in a credential_process line", _RENAME
        )
    return text


_RENAME = "Use a profile name of letters, digits and _ . @ -"


def _quote_program(path: str) -> str:
    if _is_plain(path):
        return path
    _require_quotable(path)
    # In older SDKs for Go a word must not begin with a quote, so a blank cannot precede the closing one.
    if not _is_plain(path[:1]) or path[-1:].isspace():
        raise UsageError(
            f"Invalid program path {path}",
            "not every AWS client can read it in a credential_process line",
            "Install keyturn in another folder",
        )
    return f'{path[0]}"{path[1:]}"'


def _quote_word(word: str) -> str:
    return word if _is_plain(word) or word in (VERB, "--") else f'"{_require_quotable(word)}"'


def _is_plain(word: str) -> bool:
    return _PLAIN.fullmatch(word) is not None and is_safe(word)


def _require_quotable(word: str) -> str:
    if _UNQUOTABLE & set(word) or not is_safe(word):
        raise UsageError(
            f"Invalid name {word}", "not every AWS client can read it in a credential_process line", _RENAME
        )
    return word


def is_keyturn_process_line(value: str, profile: str) -> bool:
    """Return True if a `credential_process` value calls a program named keyturn, at any path, for
    `profile`."""
    return profile_of_line(value) == profile


def _is_unquoted(value: str) -> bool:
    """Return True if shlex would split a value at its blanks alone. shlex itself is slow."""
    return not ('"' in value or "'" in value or "\\" in value)


def profile_of_line(value: str) -> str | None:
    """Return the profile for which a `credential_process` value calls a program named keyturn, at any path;
    None if it calls another program."""
    try:
        words = _BLANKS.sub(" ", value).strip(" ").split(" ") if _is_unquoted(value) else shlex.split(value)
    except ValueError:
        return None
    is_ours = len(words) >= 3 and words[0].rpartition("/")[2] == "keyturn" and words[1] == VERB
    return words[-1] if is_ours else None
