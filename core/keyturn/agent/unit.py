"""What has a system's own supervisor start the agent at login: a systemd user unit, a launchd property list. Pure."""

from __future__ import annotations

import plistlib

from keyturn.errors import UsageError
from keyturn.text import is_safe

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
