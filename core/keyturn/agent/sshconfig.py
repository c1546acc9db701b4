"""The lines that have ssh carry the forwarding socket to another machine. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from keyturn.errors import UsageError
from keyturn.text import is_safe, safe

#: Host names, aliases and ssh's patterns of them.
_HOST = re.compile(r"[A-Za-z0-9._:*?!%][A-Za-z0-9._:*?!%,\[\]-]*")


def lines(host: str, near: str, far: str, names: Sequence[str]) -> str:
    """A block for `~/.ssh/config`.

    :param near: the agent's socket for forwarding on this machine.
    :param far: the path that it gets on `host`, where ssh's tokens such as `%r` may stand.
    :param names: the profiles that may be forwarded, for a comment.
    :raises UsageError: a part of it cannot stand in such a file.
    """
    if not _HOST.fullmatch(host):
        raise UsageError("agent ssh-config", f"{safe(host)} is no host", "Give a name as you give it to ssh")
    for path in (near, far):
        if not path.startswith("/") or not is_safe(path) or '"' in path or "\\" in path:
            raise UsageError(
                "agent ssh-config", f"{safe(path)} cannot stand in it", "Use a plain absolute path"
            )
    if "${" in near:  # for which ssh knows no escape
        why = f"ssh would put a variable into {safe(near)}"
        raise UsageError("agent ssh-config", why, "Use a plain absolute path")
    named = ", ".join(safe(name) for name in names) or "no profile yet (`forward` in config.toml)"
    escaped = near.replace("%", "%%")
    return (
        f"# Temporary credentials of: {named}\n"
        f"# A line that drops leaves its socket on {host}: the next login finds it in its way, unless sshd has\n"
        f"# `StreamLocalBindUnlink yes` there, or keyturn ran there in between.\n"
        f"Host {host}\n"
        f'    RemoteForward "{far}" "{escaped}"\n'
    )
