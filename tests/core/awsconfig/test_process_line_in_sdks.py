"""The `credential_process` line as each AWS SDK reads and runs it.

Every SDK is one small function, written from the source that its docstring names. For every name and path the
line is refused, or each SDK runs exactly our words, or :mod:`keyturn.awsconfig.sdk_limits` names that SDK.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable

import pytest
from botocore.compat import compat_shell_split
from hypothesis import example, given
from hypothesis import strategies as st

from keyturn.awsconfig.parser import FileKind
from keyturn.awsconfig.process_line import format_line, is_keyturn_process_line
from keyturn.awsconfig.sdk_limits import line_limit, name_limit
from keyturn.model.errors import UsageError

NAMES = [
    "ci", "a-b_c.d@e%f/g:h+i", "a b", "a  b", " a", "a ", 'a" b', '"a"', "it's", "é", "🔑", "プロド", "$HOME",
    "a`id`b", "a\\b", "a#b", "#x", "a;b", "a #b", "a ;b", "=x", "a=b", "%s", "a\tb", "-x", "-5", "--", ",x",
    ":x", "5", "0x1F", "true", "//x", "*", "~x", "{a}", "(x)&|<>", "!x", "a\u00a0b", "\u3000x", "é ü",
    "x" * 300, "credential-process", "[x]", "a[b", "", "\n", "prod\u200b",
]  # fmt: skip
PROGRAMS = [
    "/opt/keyturn/bin/keyturn", "/opt/my tools/keyturn", "/home/é ü/bin/keyturn", "/home/é/bin/keyturn",
    "/opt/(a) & b/keyturn", '/opt/a"b/keyturn', "/opt/o'b/keyturn", "/opt/$a/keyturn", "/opt/a\\b/keyturn",
    "/opt/a #b/keyturn", "/opt/a;b/keyturn", "/opt/a,b/keyturn", "/opt/a ,b/keyturn", "/opt/a -5 b/keyturn",
    "/opt/a -b/keyturn", "/opt/a [b] c/keyturn", "/opt/a[b/keyturn", "/opt/a=b/keyturn", "/opt/a =b/keyturn",
    "/opt/ a/keyturn", "/opt/a /keyturn", "/opt/a  b/keyturn", "/opt/~/keyturn", "/opt/a\tb/keyturn",
    "/opt//keyturn",
]  # fmt: skip


def posix_shell(command: str) -> list[str]:
    """Split a command like `sh -c` does, if it needs no expansion and is a single command.

    :raises ValueError: if a character outside of quotes, or `$`, a backquote or a backslash inside of double
        ones, has a meaning to the shell.
    """
    bare = re.sub(r'"[^"$`\\]*"', "", command)
    if re.search(r"[$`\\'\"|&;<>()*?\[\]#~!{}\n]", bare) or re.search(r"(^|\s)=", bare):
        raise ValueError(command)
    return shlex.split(command)


def botocore(line: str) -> list[str]:
    """botocore `configloader.py` keeps the value; `credentials.py` splits it without a shell."""
    return compat_shell_split(line.partition("=")[2].strip())


def older_go(line: str) -> list[str]:
    """aws-sdk-go v1.44 and aws-sdk-go-v2 config 1.18, `internal/ini`: `literal_tokens.go newLitToken`,
    `value_util.go getStringValue`, `ini_parser.go parseTable`.

    A value that begins with a quote ends at the next one. Elsewhere a word that begins with a quote must have
    a second one, a comma at the start of a word drops the setting, and a negative number is an error.
    """
    value = line.partition("=")[2].strip(" \t")
    if value.startswith('"'):
        return posix_shell(value[1 : value.index('"', 1)])
    rest = value
    while rest := rest.lstrip(" \t"):
        if rest.startswith(","):
            raise ValueError(line)
        if rest.startswith('"'):
            rest = rest[rest.index('"', 1) + 1 :]
            continue
        word = re.split(r"[ \t]", rest, maxsplit=1)[0]
        if re.fullmatch(r"-\d+(\.\d+)?", word) or word.startswith(("#", ";")):
            raise ValueError(line)
        rest = rest[len(word) :]
    return posix_shell(value)


def newer_go(line: str) -> list[str]:
    """aws-sdk-go-v2 config 1.24, `internal/ini/tokenize.go asProperty`, `strings.go trimComment,
    splitProperty, legacyStrconv`: cuts at any `#` or `;`, removes quotes around the value, and expands some
    backslashes.
    """
    value = re.split("[#;]", line)[0].partition("=")[2].strip()
    if len(value) > 2 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1]
    return posix_shell(value.replace('\\"', '"').replace("\\'", "'").replace("\\n", "\n"))


def java(line: str) -> list[str]:
    """aws-sdk-java-v2 `ProfileFileReader.readPropertyDefinitionLine`, `ProcessCredentialsProvider`: cuts a
    comment that a blank or tab precedes; `sh -c`. aws-config for Rust (`env_config/parse.rs prepare_line`)
    does the same.
    """
    return posix_shell(re.split(r"[ \t][#;]", line)[0].partition("=")[2].strip())


def cpp(line: str) -> list[str]:
    """aws-sdk-cpp `AWSConfigFileProfileConfigLoader.cpp`: a line with both brackets is a header."""
    if "[" in line and "]" in line:
        raise ValueError(line)
    return java(line)


def javascript(line: str) -> list[str]:
    """smithy-typescript `parseIni.ts`; `child_process.exec`, which is `/bin/sh -c`."""
    text = re.split(r"(?:^|\s)[;#]", line)[0].strip()
    return posix_shell(text[text.index("=") + 1 :].strip())


def dotnet(line: str) -> list[str]:
    """aws-sdk-net `IniFile.TryParseProperty`, `ProcessAWSCredentials`: escapes backslashes and quotes for the
    argument list, of which .NET takes one level away before `sh -c`.
    """
    escaped = line.strip().partition("=")[2].strip().replace("\\", "\\\\").replace('"', '\\"')
    # A backslash that no quote follows is literal, so that an escaped one stays doubled.
    return posix_shell(escaped.replace('\\"', '"'))


def php(line: str) -> list[str]:
    """aws-sdk-php `CredentialProvider::process`, `INI_SCANNER_RAW` of PHP: cuts at a semicolon outside of a
    value in quotes, and removes double quotes around the value; `shell_exec`.
    """
    value = line.partition("=")[2].strip()
    if not value.startswith('"'):
        value = value.partition(";")[0].strip()
    elif value.endswith('"'):
        value = value[1:-1]
    return posix_shell(value)


def ruby(line: str) -> list[str]:
    """aws-sdk-ruby `ini_parser.rb`: cuts at a blank and a semicolon; `system` of one string."""
    match = re.match(r"^(.+?)\s*=\s*(.+?)\s*$", re.split(r"\s;", line)[0])
    if match is None:
        raise ValueError(line)
    return posix_shell(match[2])


Reader = Callable[[str], list[str]]
SDKS: dict[str, Reader] = {
    "AWS CLI and boto3": botocore,
    "the SDK for Go (v1, and v2 before config 1.24)": older_go,
    "the SDK for Go": newer_go,
    "Java": java,
    "C++": cpp,
    "JavaScript": javascript,
    ".NET": dotnet,
    "PHP": php,
    "Ruby": ruby,
}


def read(reader: Reader, value: str) -> list[str] | None:
    """Return the words that an SDK runs, or None if it runs nothing."""
    try:
        return reader(f"credential_process = {value}")
    except ValueError:
        return None


def check(program: str, name: str) -> bool:
    """Check the promise of this module for one line. Return False if it is refused."""
    try:
        value = format_line(program, name)
    except UsageError:
        return False
    meant = [program, "credential-process", *(["--"] if name.startswith("-") else []), name]
    limit = line_limit(value)
    for sdk, reader in SDKS.items():
        assert read(reader, value) == meant or sdk in (limit or ""), (sdk, value)
    assert is_keyturn_process_line(value, name) is (program.rpartition("/")[2] == "keyturn")
    return True


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_sdk_runs_our_words_or_is_named(program: str) -> None:
    for name in NAMES:
        check(program, name)


@given(st.text("aé 🔑\"'$`\\#;=%,-[]5~*(\t", max_size=6), st.text('aé "$#;=,-[]5', max_size=8))
@example(name="-5", folder="a -5 b")
def test_every_sdk_runs_our_words_for_any_name_and_folder(name: str, folder: str) -> None:
    check(f"/opt/{folder}/keyturn", name)


def test_the_lines_are_as_plain_as_they_can_be() -> None:
    kept = {name for name in NAMES if check("/opt/keyturn", name)}
    assert {"ci", "a b", " a", "é", "🔑", "=x", "-5", ",x", "%s", "x" * 300} <= kept
    for name in kept:
        quoted = format_line("/opt/keyturn", name).endswith('"')
        assert quoted is (re.fullmatch(r"(?![-=,])[\w./%@:+=,-]+|--|🔑|プロド", name) is None), name


#: What an earlier version wrote, and what it says in place of the SDKs that cannot run it.
OLD_LINES = [
    ('"/opt/keyturn" credential-process ci', {"the SDK for Go (v1, and v2 before config 1.24)"}),
    ('"/opt/my tools/keyturn" credential-process ci', {"the SDK for Go (v1, and v2 before config 1.24)"}),
    (
        '"/opt/keyturn" credential-process "é"',
        {"the SDK for Go (v1, and v2 before config 1.24)", "the SDK for Go", "PHP"},
    ),
]


@pytest.mark.parametrize(("value", "unable"), OLD_LINES)
def test_a_line_of_an_earlier_version_is_recognised_and_told_of(value: str, unable: set[str]) -> None:
    words = shlex.split(value)
    assert is_keyturn_process_line(value, words[-1])
    assert {sdk for sdk, reader in SDKS.items() if read(reader, value) != words} == unable
    limit = line_limit(value)
    assert limit is not None
    assert "Go" in limit
    assert ("PHP" in limit) is ("PHP" in unable)


IGNORED_BY = "the SDKs for C++, Java, JavaScript and Rust do not find a profile with"
#: Name, the file with its section, the start of the clause or None.
NAME_LIMITS = [
    ("ci", FileKind.CONFIG, None),
    ("a.b@c:d+e/f%g", FileKind.CONFIG, None),
    ("default", FileKind.CONFIG, None),
    ("a b", FileKind.CONFIG, "its name needs quotes in the config file, and the SDKs for C++, Go, Java"),
    ("it's", FileKind.CONFIG, "its name needs quotes"),
    ("a b", FileKind.CREDENTIALS, f"{IGNORED_BY} a blank in its name"),
    ("é", FileKind.CONFIG, f"{IGNORED_BY} é in its name"),
    ("a=b", FileKind.CONFIG, f"{IGNORED_BY} = in its name"),
]


@pytest.mark.parametrize(("name", "kind", "start"), NAME_LIMITS)
def test_a_name_that_some_sdk_does_not_find_is_told_of(name: str, kind: FileKind, start: str | None) -> None:
    limit = name_limit(name, kind)
    assert limit is None if start is None else limit is not None and limit.startswith(start)
