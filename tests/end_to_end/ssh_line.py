"""A real OpenSSH server on loopback, and the client's arguments for it."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
import time
from pathlib import Path

from tests.support.needs import needs

SECONDS = 30.0
_SERVER = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
PidFile {folder}/sshd.pid
AuthorizedKeysFile {folder}/authorized_keys
PubkeyAuthentication yes
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PermitRootLogin yes
AcceptEnv LANG
PrintMotd no
PrintLastLog no
"""


class SshServer:
    """An SSH server of the tests, and the client's arguments for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("host_key", "user_key"):
            command = [needs("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
            subprocess.run(command, check=True)
        (folder / "authorized_keys").write_text((folder / "user_key.pub").read_text())
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        (folder / "sshd_config").write_text(_SERVER.format(port=self.port, folder=folder))
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # Debian's sshd separates its privileges there
        program = [needs("sshd"), "-D", "-f", str(folder / "sshd_config"), "-E", str(folder / "sshd.log")]
        self._server = subprocess.Popen(program)
        end = time.monotonic() + SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert time.monotonic() < end, (folder / "sshd.log").read_text()
                time.sleep(0.05)

    def ssh(self, command: str) -> str:
        """Return a shell line that runs `command` on the server, in a terminal."""
        return f"{self.ssh_words()} '{command}'"

    def ssh_words(self) -> str:
        """Return the first words of an ssh command."""
        options = " ".join(self.options())
        return f"{needs('ssh')} -tt -q -F /dev/null {options} {getpass.getuser()}@127.0.0.1"

    def options(self) -> list[str]:
        """Return the options that lead a client to this server."""
        named = {
            "Port": self.port,
            "IdentityFile": self.folder / "user_key",
            "IdentitiesOnly": "yes",
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": self.folder / "known",
            "ServerAliveInterval": 0,
        }
        return [word for name, value in named.items() for word in ("-o", f"{name}={value}")]

    def end(self) -> None:
        """Stop the server."""
        self._server.terminate()
        self._server.wait()
