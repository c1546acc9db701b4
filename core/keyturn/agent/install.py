"""Text of the files that start and forward the agent: systemd user unit, launchd property list, ssh_config
block. Pure."""

from __future__ import annotations

import plistlib
import re
from collections.abc import Sequence

from keyturn.model.errors import UsageError
from keyturn.model.text import is_safe, safe

LABEL = "org.keyturn.agent"
#: `Type=oneshot` with `RemainAfterExit`, because `keyturn agent start` exits once the vault is open. At
#: logout systemd sends SIGTERM to the rest of the unit, and the agent then removes the sessions that it
#: delivered.
_UNIT = """\
[Unit]
Description=keyturn: opens the vault with the system keyring and renews AWS sessions

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
    """Return a systemd user unit that runs the keyturn executable at `program`.

    :raises UsageError: if the path cannot be written in a unit.
    """
    _check(program)
    # systemd.service(5), "Command lines": quotes and backslashes, specifiers and variables.
    escaped = program.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return _UNIT.format(program=f'"{escaped}"')


def launchd_plist(program: str) -> str:
    """Return a launchd property list that runs the keyturn executable at `program`.

    :raises UsageError: if the path cannot be written in a property list.
    """
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
            "Could not write the unit",
            f"{program} cannot be quoted",
            "Install keyturn under a plain absolute path",
        )


#: Host names, aliases and ssh_config patterns.
_HOST = re.compile(r"[A-Za-z0-9._:*?!%][A-Za-z0-9._:*?!%,\[\]-]*")


def lines(host: str, local: str, remote: str, names: Sequence[str]) -> str:
    """Return a block for `~/.ssh/config` that forwards the agent's socket to `host`.

    :param local: the agent's forwarding socket on this machine.
    :param remote: path of the socket on `host`; may contain ssh tokens such as `%r`.
    :param names: profiles that may be forwarded, listed in a comment.
    :raises UsageError: if a value cannot be written in ssh_config.
    """
    if not _HOST.fullmatch(host):
        raise UsageError("Invalid host", f"{safe(host)}", "Give a host name or alias as for ssh")
    for path in (local, remote):
        if not path.startswith("/") or not is_safe(path) or '"' in path or "\\" in path:
            raise UsageError(
                "Could not write the ssh_config lines",
                f"{safe(path)} cannot be quoted",
                "Use a plain absolute path",
            )
    if "${" in local:  # ssh_config has no escape for it
        raise UsageError(
            "Could not write the ssh_config lines",
            f"ssh would expand a variable in {safe(local)}",
            "Use a plain absolute path",
        )
    profiles = ", ".join(safe(name) for name in names) or "none yet (set `forward` in config.toml)"
    escaped = local.replace("%", "%%")
    return (
        f"# Temporary credentials of: {profiles}\n"
        f"# A dropped connection leaves its socket on {host}, which blocks the next forwarding unless sshd\n"
        f"# there has `StreamLocalBindUnlink yes` or keyturn has run there since.\n"
        f"Host {host}\n"
        f'    RemoteForward "{remote}" "{escaped}"\n'
    )
