"""Delivery to environment variables: variables that carry a session, variables that must be unset, and shell
syntax. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from keyturn.model.errors import UsageError
from keyturn.model.profile import Credentials
from keyturn.model.secret import Secret
from keyturn.model.text import is_safe, iso

#: Variables that some AWS client prefers to the keys, or combines with them although they belong to other
#: credentials: the profile (JavaScript), older spellings (Java 1, boto 2), containers, web identity, expiry
#: and account of another session.
CONFLICTING = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_SECURITY_TOKEN",
    "AWS_BEARER_TOKEN_BEDROCK",
    "AWS_ACCESS_KEY",
    "AWS_SECRET_KEY",
    "AWS_CREDENTIAL_FILE",
    "AWS_CREDENTIAL_EXPIRATION",
    "AWS_SESSION_EXPIRATION",
    "AWS_ACCOUNT_ID",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
)
#: One per service. Clients that support it ignore the keys then (botocore, `get_token_from_environment`).
_BEARER = re.compile(r"AWS_BEARER_TOKEN_[A-Z0-9_]+")
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
_PROXIES = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")
_NO_PROXY = ("no_proxy", "NO_PROXY")

Change = Mapping[str, str | None]
"""Variables by name; None for a variable to unset. The values contain secrets in plaintext."""


def regions(environ: Mapping[str, str], own: str | None, chosen: str | None = None) -> Change:
    """Return the region variables of a program. The caller's own region applies before the profile's, because
    it was set for this shell; AWS clients read one variable or the other, so both are set.

    :param own: the region of the profile.
    :param chosen: a region that replaces all others.
    """
    if chosen:
        return dict.fromkeys(REGIONS, chosen)
    set_ones = {name: environ[name] for name in REGIONS if environ.get(name)}
    default = next(iter(set_ones.values()), own)
    return {name: set_ones.get(name, default) for name in REGIONS} if default else {}


def session(credentials: Credentials, regions: Change, account: str | None) -> Change:
    """Return the change that makes a program use `credentials` and no others.

    :param regions: see :func:`regions`.
    """
    expires = iso(credentials.expires)
    secret = credentials.secret_access_key.reveal()
    token = credentials.session_token.reveal() if credentials.session_token else None
    change: dict[str, str | None] = dict.fromkeys(CONFLICTING)
    change |= dict(zip(KEYS, (credentials.access_key_id, secret, token), strict=True))
    change |= {**regions, "AWS_CREDENTIAL_EXPIRATION": expires, "AWS_ACCOUNT_ID": account}
    return change


def endpoint(
    url: Secret, regions: Change, *, token: Secret | None = None, token_file: str | None = None
) -> Change:
    """Return the change that makes a program request credentials from its endpoint. It contains no
    credentials.

    :param regions: see :func:`regions`.
    :param token: for SDKs that do not read a token file; otherwise `token_file` is its path.
    """
    change: dict[str, str | None] = dict.fromkeys((*CONFLICTING, *KEYS))
    change["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = url.reveal()
    change["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = token.reveal() if token else None
    change["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = token_file
    return {**change, **regions}


def without_bearer_tokens(environ: Mapping[str, str]) -> Change:
    """Return the change that unsets the bearer tokens of all services."""
    return dict.fromkeys(name for name in environ if _BEARER.fullmatch(name))


def without_proxy(environ: Mapping[str, str], host: str) -> Change:
    """Return the change that keeps clients from sending a token for `host` to a proxy. It is empty if no
    proxy is set. botocore and Go do not use a proxy for loopback; other clients do."""
    if not any(environ.get(name) for name in _PROXIES):
        return {}
    # Each client reads only one of the two.
    both = {name: environ.get(name) or environ.get(other, "") for name, other in (_NO_PROXY, _NO_PROXY[::-1])}
    return {
        name: hosts if host in hosts.split(",") else ",".join(part for part in (hosts, host) if part)
        for name, hosts in both.items()
    }


def apply(change: Change, environ: Mapping[str, str]) -> dict[str, str]:
    """Return `environ` with the change applied."""
    unchanged = {name: value for name, value in environ.items() if name not in change}
    return unchanged | {name: value for name, value in change.items() if value is not None}


class Shell(StrEnum):
    """Output syntax of `keyturn env`."""

    SH = "sh"
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
    POWERSHELL = "powershell"
    CMD = "cmd"
    JSON = "json"


def shell_from_path(path: str) -> Shell:
    """Return the syntax for the shell at `path` (value of `SHELL`); `sh` if it is not supported."""
    name = path.rpartition("/")[2].removesuffix(".exe").lstrip("-")
    if name == "pwsh":
        return Shell.POWERSHELL
    return Shell(name) if name in list(Shell) else Shell.SH


def render(change: Change, shell: Shell) -> str:
    """Return the change as lines that `shell` evaluates, sorted by name so that the output is stable.

    :raises UsageError: if a value cannot be quoted.
    """
    if shell is Shell.JSON:
        return json.dumps(change, indent=2, ensure_ascii=True, sort_keys=True) + "\n"
    language = _LANGUAGES[shell]
    lines = []
    for name, value in sorted(change.items()):
        if value is None:
            lines.append(language.remove(name))
            continue
        if not is_safe(value):
            raise UsageError(
                f"Could not print {name} for {shell}",
                "its value has unprintable characters",
                "Use --shell json",
            )
        lines.append(language.assign(name, value))
    return "".join(line + language.end for line in lines)


@dataclass(frozen=True, slots=True)
class _Language:
    assign: Callable[[str, str], str]
    remove: Callable[[str], str]
    end: str = ";\n"
    """End of a command. `eval $(keyturn env PROFILE)` turns newlines into spaces, so a separator is needed as
    well."""


def _posix(value: str) -> str:
    return "'" + value.replace("'", "'\\''") + "'"


def _fish(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _fish_remove(name: str) -> str:
    """Return the fish command that unsets a variable. Without a scope, fish would also erase a universal
    variable (`set -U`) permanently. A universal variable cannot be hidden either, because a global one
    without a value reaches programs as an empty string. So the command prints a note instead."""
    message = f"keyturn: {name} is a universal fish variable and stays set. To erase it, run: set -eU {name}"
    return f"set -eg {name}; if set -qUx {name}; echo {_fish(message)} >&2; end"


#: PowerShell treats typographic single quotes as plain ones, so each is doubled.
_POWERSHELL_QUOTES = re.compile("(['\u2018\u2019\u201a\u201b])")
#: cmd.exe has no escape for these at its prompt: `%` and `!` expand, a quote ends the value, the others are
#: operators.
_CMD_UNQUOTABLE = frozenset('%!"^&|<>')


def _cmd(name: str, value: str) -> str:
    if _CMD_UNQUOTABLE & set(value):
        raise UsageError(f"Could not print {name} for cmd", "its value cannot be quoted", "Use --shell json")
    return f'set "{name}={value}"'


_EXPORT = _Language(lambda name, value: f"export {name}={_posix(value)}", lambda name: f"unset {name}")
_LANGUAGES: Mapping[Shell, _Language] = {
    Shell.SH: _EXPORT,
    Shell.BASH: _EXPORT,
    Shell.ZSH: _EXPORT,
    Shell.FISH: _Language(lambda name, value: f"set -gx {name} {_fish(value)}", _fish_remove),
    Shell.POWERSHELL: _Language(
        lambda name, value: f"$Env:{name} = '{_POWERSHELL_QUOTES.sub(lambda mark: mark[1] * 2, value)}'",
        lambda name: f"Remove-Item Env:{name} -ErrorAction SilentlyContinue",
    ),
    Shell.CMD: _Language(_cmd, lambda name: f'set "{name}="', "\r\n"),
}
