"""What has a system's own supervisor start the agent at login: a systemd user unit, a launchd property list. Pure."""

from __future__ import annotations

import plistlib
import re
from collections.abc import Sequence

from keyturn.model.errors import UsageError
from keyturn.model.text import is_safe, safe

LABEL = "org.keyturn.agent"
#: `Type=oneshot` with `RemainAfterExit`, since what starts the agent ends once the vault is open. At logout systemd sends
#: TERM to all that is left of the unit, at which the agent withdraws what it delivered.
_UNIT = """\
[Unit]
Description=keyturn: opens the vault by the system keyring, and renews AWS sessions

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={program} agent start
ExecStop={program} agent stop
TimeoutStopSec=30

[Install]
WantedBy=default.target
"""


def systemd_unit(program: str) -> str:
    """A user unit that calls the keyturn at `program`.

    :raises UsageError: the path cannot stand in one.
    """
    _check(program)
    # systemd.service(5), "Command lines": quotes and backslashes, specifiers and variables.
    escaped = program.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return _UNIT.format(program=f'"{escaped}"')


def launchd_plist(program: str) -> str:
    """A property list of a launchd agent that calls the keyturn at `program`; errors as of :func:`systemd_unit`."""
    _check(program)
    table = {
        "Label": LABEL,
        "ProgramArguments": [program, "agent", "start"],
        "RunAtLoad": True,
        "AbandonProcessGroup": True,
        "ProcessType": "Background",
    }
    return plistlib.dumps(table).decode("utf-8")


def _check(program: str) -> None:
    if not program.startswith("/") or not is_safe(program):
        raise UsageError(
            "agent unit", f"{program} cannot stand in a unit", "Install keyturn by a plain absolute path"
        )


#: Host names, aliases and ssh's patterns of them.
_HOST = re.compile(r"[A-Za-z0-9._:*?!%][A-Za-z0-9._:*?!%,\[\]-]*")


def lines(host: str, local: str, remote: str, names: Sequence[str]) -> str:
    """A block for `~/.ssh/config`.

    :param near: the agent's socket for forwarding on this machine.
    :param far: the path that it gets on `host`, where ssh's tokens such as `%r` may stand.
    :param names: the profiles that may be forwarded, for a comment.
    :raises UsageError: a part of it cannot stand in such a file.
    """
    if not _HOST.fullmatch(host):
        raise UsageError("agent ssh-config", f"{safe(host)} is no host", "Give a name as you give it to ssh")
    for path in (local, remote):
        if not path.startswith("/") or not is_safe(path) or '"' in path or "\\" in path:
            raise UsageError(
                "agent ssh-config", f"{safe(path)} cannot stand in it", "Use a plain absolute path"
            )
    if "${" in local:  # for which ssh knows no escape
        why = f"ssh would put a variable into {safe(local)}"
        raise UsageError("agent ssh-config", why, "Use a plain absolute path")
    profiles = ", ".join(safe(name) for name in names) or "no profile yet (`forward` in config.toml)"
    escaped = local.replace("%", "%%")
    return (
        f"# Temporary credentials of: {profiles}\n"
        f"# A line that drops leaves its socket on {host}: the next login finds it in its way, unless sshd has\n"
        f"# `StreamLocalBindUnlink yes` there, or keyturn ran there in between.\n"
        f"Host {host}\n"
        f'    RemoteForward "{remote}" "{escaped}"\n'
    )
