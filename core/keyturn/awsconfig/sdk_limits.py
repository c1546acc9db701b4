"""AWS SDKs that do not find a profile by its name, or cannot run its `credential_process` line. Pure.

The rules are in the SDKs' readers of the shared files: Go v1 and v2 `internal/ini`, Java v2
`ProfileFileReader`, JavaScript v3 `parseIni`, Rust `env_config`, C++ `AWSConfigFileProfileConfigLoader`, Ruby
`IniParser`, and `parse_ini_string` in PHP. The AWS CLI and boto3 read everything that keyturn writes.
"""

from __future__ import annotations

import re

from keyturn.awsconfig.parser import FileKind
from keyturn.awsconfig.section_names import needs_quotes

#: Releases that read the shared files with the first parser of the Go SDK.
OLDER_GO = "the SDK for Go (v1, and v2 before config 1.24)"
#: Names that all SDKs accept.
_IDENTIFIER = re.compile(r"[A-Za-z0-9_./%@:+-]*")
#: Words within a line at which older SDKs for Go drop the setting.
_DROPPED_WORD = re.compile(r"[ \t](?:,|-[0-9.]+[ \t])")


def name_limit(profile: str, kind: FileKind) -> str | None:
    """Return which SDKs do not find a profile by its name, as a clause after the name, or None.

    :param kind: the file with its section. Only headers of the config file can have quotes.
    """
    if kind is FileKind.CONFIG and profile != "default" and needs_quotes(profile):
        return (
            "its name needs quotes in the config file, and the SDKs for C++, Go, Java, JavaScript, PHP, Ruby "
            "and Rust do not find such a profile"
        )
    rest = profile[len(match[0]) :] if (match := _IDENTIFIER.match(profile)) else profile
    if not rest:
        return None
    mark = "a blank" if rest[0].isspace() else rest[0]
    return f"the SDKs for C++, Java, JavaScript and Rust do not find a profile with {mark} in its name"


def line_limit(value: str) -> str | None:
    """Return which SDKs cannot run a `credential_process` value of keyturn, as a clause about the line, or
    None.
    """
    limits = []
    if value[:1] in ('"', "'"):
        if value[-1] == value[0]:
            limits.append("it begins and ends with a quote, so the SDKs for Go and PHP cannot run it")
        else:
            limits.append(f"it begins with a quote, so {OLDER_GO} cannot run it")
    elif _DROPPED_WORD.search(value):
        limits.append(
            f"a word of its path begins with a comma or is a negative number, so {OLDER_GO} drops it"
        )
    if "[" in value and "]" in value:
        limits.append("it has brackets, so the SDK for C++ cannot read the file")
    return ", and ".join(limits) or None
