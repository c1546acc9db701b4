"""Delivery into an environment: which variables carry a session, which must go, and how a shell is told so. Pure."""

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

#: What some AWS client would prefer to the keys, or take together with them though it belongs to other ones: the profile
#: (JavaScript), older spellings (Java 1, boto 2), containers, web identity, another session's end and account.
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
#: Of one service each; clients that know it sign with nothing else then (botocore, `get_token_from_environment`).
_BEARER = re.compile(r"AWS_BEARER_TOKEN_[A-Z0-9_]+")
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
_PROXIES = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")
_NO_PROXY = ("no_proxy", "NO_PROXY")

Change = Mapping[str, str | None]
"""Variables by name; None for one that must not be there. Holds secrets in clear."""


def session(credentials: Credentials, region: str | None, account: str | None) -> Change:
    """What a program needs in its environment to act as `credentials`, and nothing of anybody else.

    :param region: of the profile; both variables are left as they are where it names none.
    """
    expires = iso(credentials.expires)
    secret = credentials.secret_access_key.reveal()
    token = credentials.session_token.reveal() if credentials.session_token else None
    change: dict[str, str | None] = dict.fromkeys(CONFLICTING)
    change |= dict(zip(KEYS, (credentials.access_key_id, secret, token), strict=True))
    if region:
        change |= dict.fromkeys(REGIONS, region)
    change |= {"AWS_CREDENTIAL_EXPIRATION": expires, "AWS_ACCOUNT_ID": account}
    return change


def endpoint(
    url: Secret, region: str | None, *, token: Secret | None = None, token_file: str | None = None
) -> Change:
    """What a program needs to ask an endpoint of its own for credentials, and no credential.

    :param token: for SDKs that know no file of it; else `token_file` is where it stands.
    """
    change: dict[str, str | None] = dict.fromkeys((*CONFLICTING, *KEYS))
    change["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = url.reveal()
    change["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = token.reveal() if token else None
    change["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = token_file
    if region:
        change |= dict.fromkeys(REGIONS, region)
    return change


def without_bearer_tokens(environ: Mapping[str, str]) -> Change:
    """What takes the bearer tokens of all services out of an environment."""
    return dict.fromkeys(name for name in environ if _BEARER.fullmatch(name))


def without_proxy(environ: Mapping[str, str], host: str) -> Change:
    """What keeps clients that heed proxy variables (botocore and Go do not, for loopback) from sending a token for
    `host` to a proxy. Nothing where no proxy is named."""
    if not any(environ.get(name) for name in _PROXIES):
        return {}
    # Clients read one of the two and not the other.
    both = {name: environ.get(name) or environ.get(other, "") for name, other in (_NO_PROXY, _NO_PROXY[::-1])}
    return {
        name: hosts if host in hosts.split(",") else ",".join(part for part in (hosts, host) if part)
        for name, hosts in both.items()
    }


def apply(change: Change, environ: Mapping[str, str]) -> dict[str, str]:
    """An environment after a change."""
    unchanged = {name: value for name, value in environ.items() if name not in change}
    return unchanged | {name: value for name, value in change.items() if value is not None}


class Shell(StrEnum):
    """A command language in which `keyturn env` can speak."""

    SH = "sh"
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
    POWERSHELL = "powershell"
    CMD = "cmd"
    JSON = "json"


def shell_from_path(path: str) -> Shell:
    """The language of the shell at `path`, as `SHELL` names it; `sh` where that is none of ours."""
    name = path.rpartition("/")[2].removesuffix(".exe").lstrip("-")
    if name == "pwsh":
        return Shell.POWERSHELL
    return Shell(name) if name in list(Shell) else Shell.SH


def render(change: Change, shell: Shell) -> str:
    """The change as lines that `shell` evaluates; names in order, so that the same change reads the same.

    :raises UsageError: a value cannot be said in it.
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
                f"{name} for {shell}", "it holds characters that no such value has", "Use --shell json"
            )
        lines.append(language.assign(name, value))
    return "".join(line + language.end for line in lines)


@dataclass(frozen=True, slots=True)
class _Language:
    assign: Callable[[str, str], str]
    remove: Callable[[str], str]
    end: str = ";\n"
    """With what a shell needs where it has made blanks of line ends: `eval $(keyturn env PROFILE)`."""


def _posix(value: str) -> str:
    return "'" + value.replace("'", "'\\''") + "'"


def _fish(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _fish_remove(name: str) -> str:
    """Without a scope, fish would erase for all times a variable that it keeps for all its sessions (`set -U`). Such a one
    cannot be hidden either: a global one without a value would reach programs as an empty one. So fish says it."""
    message = (
        f"keyturn: {name} is a universal variable of fish and stays. To remove it for good: set -eU {name}"
    )
    return f"set -eg {name}; if set -qUx {name}; echo {_fish(message)} >&2; end"


#: PowerShell takes typographic single quotes for plain ones, so each is doubled.
_POWERSHELL_QUOTES = re.compile("(['\u2018\u2019\u201a\u201b])")
#: Where a value stands at cmd's prompt nothing escapes these: `%` and `!` expand, a quote ends, the rest may be obeyed.
_CMD_UNQUOTABLE = frozenset('%!"^&|<>')


def _cmd(name: str, value: str) -> str:
    if _CMD_UNQUOTABLE & set(value):
        raise UsageError(f"{name} for cmd", "cmd.exe cannot take one of its characters", "Use --shell json")
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
