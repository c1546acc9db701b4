"""Closing a process to the others of its user, and its environment to what a shell happened to hold."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import re
import resource
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from keyturn.system.prctl import disable_dumps

#: What the agent keeps of the environment that it was started from. Credentials and the profile of one shell must not
#: become those of all; `PYTHON*` and `LD_*` would load what a caller names.
_ALLOWED = re.compile(
    r"""
    HOME | PATH | USER | LOGNAME | LANG | LC_\w+ | TZ | TMPDIR | XDG_\w+ | DBUS_SESSION_BUS_ADDRESS | KEYTURN_\w+
    | AWS_CONFIG_FILE | AWS_SHARED_CREDENTIALS_FILE | AWS_ENDPOINT_URL\w* | AWS_IGNORE_CONFIGURED_ENDPOINT_URLS
    | AWS_CA_BUNDLE | AWS_LOGIN_CACHE_DIRECTORY | AWS_STS_REGIONAL_ENDPOINTS | AWS_USE_\w+ | AWS_REGION | AWS_DEFAULT_REGION
    | AWS_EC2_METADATA_DISABLED | AWS_MAX_ATTEMPTS | AWS_RETRY_MODE | AWS_DEFAULTS_MODE
    | (?i: HTTP | HTTPS | ALL | NO )_(?i: PROXY ) | SSL_CERT_FILE | REQUESTS_CA_BUNDLE
    """,
    re.VERBOSE,
)

#: Variables that hold a path; the agent does not share the working folder of whoever started it.
_PATH_VARIABLES = frozenset(
    {
        "AWS_CONFIG_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_CA_BUNDLE",
        "AWS_LOGIN_CACHE_DIRECTORY",
        "KEYTURN_HOME",
        "KEYTURN_SANDBOX",
        "REQUESTS_CA_BUNDLE",
        "SSL_CERT_FILE",
    }
)


#: The soft and hard limit on core files that this process was started with: nothing but this module changes them.
_ORIGINAL_CORE_LIMIT = resource.getrlimit(resource.RLIMIT_CORE)


def harden_process() -> bool:
    """Make this process unreadable to others of the same user: memory, environment, files, ptrace and core dumps.

    Called before a secret is read. Children get their own state back when they start another program, except for the
    soft limit on core files, which :func:`restore_core_limit` gives back. Returns whether the system closed it; macOS has no such call.
    """
    faulthandler.disable()
    _limit_core(hard=resource.getrlimit(resource.RLIMIT_CORE)[1])
    return disable_dumps()


def harden_agent() -> bool:
    """:func:`close_process` for a process that starts no programs for a person: no core file for any child either, and
    every file it makes is private."""
    os.umask(0o077)
    is_hardened = harden_process()
    _limit_core(hard=0)
    return is_hardened


@contextmanager
def restore_core_limit() -> Iterator[None]:
    """For the block in which this process becomes another program: the limits that it was itself started with. It stays
    closed in all other respects until then, and where the system can close it, leaves no core file either."""
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, _ORIGINAL_CORE_LIMIT)
    try:
        yield
    finally:
        _limit_core(hard=_ORIGINAL_CORE_LIMIT[1])


def _limit_core(*, hard: int) -> None:
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def agent_environment(environ: Mapping[str, str], folder: Path) -> dict[str, str]:
    """The environment for an agent that is started from `environ`.

    :param folder: where relative paths in `environ` start; the agent itself works in the root folder.
    """
    variables = {name: value for name, value in environ.items() if _ALLOWED.fullmatch(name)}
    for name in _PATH_VARIABLES & variables.keys():
        if variables[name] and not variables[name].startswith(("/", "~", "$")):
            variables[name] = str(folder / variables[name])
    return variables
