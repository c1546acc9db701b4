"""Process hardening: protection of memory and descriptors from other processes of the user, and a filtered
environment.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import re
import resource
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from keyturn.model.errors import UsageError
from keyturn.system.prctl import disable_dumps

#: Variables that the agent inherits. Credentials and the profile of one shell must not apply to all clients,
#: and `PYTHON*` and `LD_*` would load code that a caller names.
_ALLOWED = re.compile(
    r"""
    HOME | PATH | USER | LOGNAME | LANG | LC_\w+ | TZ | TMPDIR | XDG_\w+ | DBUS_SESSION_BUS_ADDRESS
    | KEYTURN_\w+
    | AWS_CONFIG_FILE | AWS_SHARED_CREDENTIALS_FILE | AWS_ENDPOINT_URL\w*
    | AWS_IGNORE_CONFIGURED_ENDPOINT_URLS
    | AWS_CA_BUNDLE | AWS_LOGIN_CACHE_DIRECTORY | AWS_STS_REGIONAL_ENDPOINTS | AWS_USE_\w+
    | AWS_REGION | AWS_DEFAULT_REGION
    | AWS_EC2_METADATA_DISABLED | AWS_MAX_ATTEMPTS | AWS_RETRY_MODE | AWS_DEFAULTS_MODE
    | (?i: HTTP | HTTPS | ALL | NO )_(?i: PROXY ) | SSL_CERT_FILE | REQUESTS_CA_BUNDLE
    """,
    re.VERBOSE,
)

#: Variables that hold a path. Relative values are made absolute, because the agent has another working
#: directory.
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


#: Fewer are not enough for the files, sockets and child processes of one operation.
_MIN_DESCRIPTORS = 32
#: Of the agent, for its clients.
_AGENT_DESCRIPTORS = 4096

#: Soft and hard core file limit at start. No other module changes it.
_ORIGINAL_CORE_LIMIT = resource.getrlimit(resource.RLIMIT_CORE)


def harden_process() -> bool:
    """Protect this process from others of the same user: memory, environment, files, ptrace and core dumps.

    Call it before reading a secret. Programs that this process executes are not affected, except by the soft
    limit on core files, which :func:`restore_core_limit` restores.

    :returns: True if the system supports it; macOS does not.
    """
    faulthandler.disable()
    _limit_core(hard=resource.getrlimit(resource.RLIMIT_CORE)[1])
    return disable_dumps()


def require_descriptors() -> None:
    """Check that this process may open enough files.

    :raises UsageError: if not.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < _MIN_DESCRIPTORS:
        raise UsageError(
            "Could not start",
            f"this shell allows {soft} open files, and keyturn needs {_MIN_DESCRIPTORS}",
            "Run: ulimit -n 1024",
        )


def harden_agent() -> bool:
    """Harden a process that executes no programs of the user: like :func:`harden_process`, and also disable
    core files for all children, make every created file private and allow as many open files as possible.
    """
    os.umask(0o077)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _AGENT_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _AGENT_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    is_hardened = harden_process()
    _limit_core(hard=0)
    return is_hardened


@contextmanager
def restore_core_limit() -> Iterator[None]:
    """Restore the original core file limit for a block in which this process executes another program. Until
    then the process stays protected otherwise, and leaves no core file where :func:`harden_process` is
    supported.
    """
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
    """Return the environment for an agent that is started from `environ`.

    :param folder: base of relative paths in `environ`, because the agent works in the root folder.
    """
    variables = {name: value for name, value in environ.items() if _ALLOWED.fullmatch(name)}
    for name in _PATH_VARIABLES & variables.keys():
        if variables[name] and not variables[name].startswith(("/", "~", "$")):
            variables[name] = os.path.join(folder, variables[name])  # noqa: PTH118  # as callers join it
    return variables
