"""The `credential_process` line that makes AWS clients call keyturn: writing and recognising it."""

from __future__ import annotations

import re
import shlex

from keyturn.model.errors import UsageError
from keyturn.model.text import is_safe

#: The verb that the line calls.
VERB = "credential-process"
#: Not at the start: `=`, which zsh expands.
_PLAIN = re.compile(r"[A-Za-z0-9_.@%/:+,][A-Za-z0-9_.@%/:+=,-]*")
#: Inside double quotes these mean something to a POSIX shell or to shlex, or end the value for another SDK's parser.
_UNQUOTABLE = frozenset("\"\\$`'\n\r#;")


def check_name(profile: str) -> None:
    """Whether a profile of that name can be called from a `credential_process` line at all.

    :raises UsageError: it cannot.
    """
    format_line("keyturn", profile)


def format_line(program: str, profile: str) -> str:
    """The value of `credential_process` that calls `program` for `profile`.

    botocore splits it as a POSIX shell would, without running one; Go, JavaScript and Java hand it to `sh -c`. So only
    double quotes are used, and nothing stands in them that any of these would expand.

    :raises UsageError: the name or the path cannot be written so.
    """
    words = [program, VERB, *(["--"] if profile.startswith("-") else []), profile]
    text = " ".join([f'"{_require_quotable(program)}"', *(_quote_word(word) for word in words[1:])])
    if shlex.split(text) != words:
        raise UsageError(f"profile {profile}", "its name cannot stand in a credential_process line", _RENAME)
    return text


_RENAME = "Give the profile a name of letters, digits and _ . @ -"


def _quote_word(word: str) -> str:
    return word if _PLAIN.fullmatch(word) or word in (VERB, "--") else f'"{_require_quotable(word)}"'


def _require_quotable(word: str) -> str:
    if _UNQUOTABLE & set(word) or not is_safe(word):
        raise UsageError(
            f"name {word}", "it cannot stand in a credential_process line for every AWS client", _RENAME
        )
    return word


def is_keyturn_process_line(value: str, profile: str) -> bool:
    """Whether a `credential_process` value calls a keyturn, of whatever path, for `profile`."""
    try:
        words = shlex.split(value)
    except ValueError:
        return False
    return (
        len(words) >= 3
        and words[0].rpartition("/")[2] == "keyturn"
        and words[1] == VERB
        and words[-1] == profile
    )
