"""Environment of the process that asks, as far as it decides how AWS is reached.

It travels with a request to the agent. An `.envrc` in a cloned repository can set it, so it is hostile text,
and what an endpoint or a CA bundle of it yields is kept apart from everything else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

from keyturn.model.errors import THEN_RUN, ChangeRefused, KeyturnError, Remedy, UsageError
from keyturn.system.caller_variables import CA_BUNDLES, ENDPOINTS, IGNORE_ENDPOINTS, NAMES, caller_variables

#: Characters of one value. A `NO_PROXY` of a company has some thousand.
MAX_VALUE_LENGTH = 16_384
#: They decide which host is taken for AWS.
_TRUSTED_HOST = (*ENDPOINTS, IGNORE_ENDPOINTS, *CA_BUNDLES)


@dataclass(frozen=True, slots=True)
class CallerEnvironment:
    """Variables that decide how AWS is reached for one request."""

    variables: Mapping[str, str] = field(repr=False)
    """Only names of :data:`keyturn.system.caller_variables.NAMES`. A proxy's value may hold a password."""

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Self:
        """Return that of a process with the environment `environ`."""
        return cls(caller_variables(environ))

    @classmethod
    def parse(cls, value: object) -> Self:
        """Return that of a request. Names that this version does not know are left out.

        :raises UsageError: if it is no object, or a value is no text, too long, or has control characters.
        """
        if not isinstance(value, dict):
            raise UsageError("Invalid request to the agent", "`env` is not an object")
        return cls({name: _require_text(name, value[name]) for name in NAMES if name in value})

    def over(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return `environ` with these variables in place of its own."""
        others = {name: value for name, value in environ.items() if name not in NAMES}
        return {**others, **self.variables}

    def host_fingerprint(self) -> str:
        """Return a digest of the endpoints and CA bundles; empty if there are none. A session obtained with
        others belongs to callers with the same only.
        """
        values = self._host_values()
        return hashlib.sha256(json.dumps(sorted(values.items())).encode()).hexdigest() if values else ""

    def foreign_names(self, start: CallerEnvironment) -> tuple[str, ...]:
        """Return the names of the endpoints and CA bundles that differ from those of `start`, the environment
        in which the agent was started.
        """
        own, others = self._host_values(), start._host_values()
        return tuple(name for name in _TRUSTED_HOST if own.get(name) != others.get(name))

    def _host_values(self) -> dict[str, str]:
        values = ((name, self.variables.get(name, "")) for name in _TRUSTED_HOST)
        return {name: value for name, value in values if value.strip()}

    def proxies(self) -> dict[str, str]:
        """Return the proxy URLs by scheme, and under `no` the hosts without a proxy, as
        :func:`urllib.request.getproxies` does: a lower-case variable decides, even if it is empty.
        """
        values = {}
        for scheme in ("http", "https", "no"):
            upper = self.variables.get(f"{scheme.upper()}_PROXY", "")
            value = self.variables.get(f"{scheme}_proxy", upper)
            if value:
                values[scheme] = value if scheme == "no" or "://" in value else f"http://{value.lstrip('/')}"
        return values


def require_usable_proxies(proxies: Mapping[str, str]) -> None:
    """Check the proxy URLs, because HTTP clients quote an unusable one in their errors, password included.

    :param proxies: see :meth:`CallerEnvironment.proxies`.
    :raises KeyturnError: without the URL.
    """
    for scheme in ("http", "https"):
        if scheme in proxies and not _is_usable_url(proxies[scheme]):
            raise KeyturnError(
                f"Could not use the proxy of {scheme.upper()}_PROXY",
                "it is not a valid URL",
                "Write special characters of its user name and password as %XX",
            )


def _is_usable_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
    # A slash in a password ends the host there, and the rest of the password becomes a path.
    return has_host and "@" not in parts.path + parts.query + parts.fragment


def require_known_host(what: str, foreign_names: tuple[str, ...], why: str) -> None:
    """Refuse what an endpoint or CA bundle that only the caller names must not get or cause.

    Every provider that sends a secret which no signature protects (refresh token, client secret, portal
    token, SAML assertion, id token, or a session for the federation endpoint) calls it first.

    :param what: the failure.
    :param foreign_names: see :meth:`CallerEnvironment.foreign_names`.
    :param why: the reason, a clause after the names.
    :raises ChangeRefused: if there are foreign names.
    """
    if not foreign_names:
        return
    differ = "differs" if len(foreign_names) == 1 else "differ"
    raise ChangeRefused(
        what,
        f"{', '.join(foreign_names)} of this shell {differ} from the environment in which the agent was "
        f"started, and {why}",
        (
            "Correct it in this shell; if it is right, ", THEN_RUN, Remedy("agent stop"), ", then ",
            Remedy("vault unlock"),
        ),
    )  # fmt: skip


def _require_text(name: str, value: object) -> str:
    what = f"Environment variable {name} is invalid"
    if not isinstance(value, str):
        raise UsageError(what, "it is not a text")
    if len(value) > MAX_VALUE_LENGTH:
        raise UsageError(what, f"it is longer than {MAX_VALUE_LENGTH} characters")
    if any(ch < " " or "\x7f" <= ch <= "\x9f" for ch in value):
        raise UsageError(what, "it contains control characters", "Correct it in this shell")
    return value
