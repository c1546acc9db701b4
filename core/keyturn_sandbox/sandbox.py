"""A sandbox: a private folder with AWS files, and the stand-in server for its clients."""

from __future__ import annotations

import atexit
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from keyturn.system.clock import OFFSET_FILE, Clock, clock_for, read_offset, system_clock
from keyturn_sandbox import seed as seeds
from keyturn_sandbox.environment import environ_for, shell_file
from keyturn_sandbox.faults import INBOX, Faults, skew_of
from keyturn_sandbox.folder import Folder, clear_leftovers, write_private
from keyturn_sandbox.id_generator import IdGenerator
from keyturn_sandbox.policy.principals import MfaDevice, User
from keyturn_sandbox.server import LoopbackServer
from keyturn_sandbox.service import Service
from keyturn_sandbox.state import SandboxState
from keyturn_sandbox.totp import code_for, step_at

DEVICES_FILE = "mfa.json"
FIXED_START = datetime(2026, 11, 23, 14, 5, 10, tzinfo=UTC)
"""Start time of the clock of a fixed sandbox."""


class Sandbox:
    """A private AWS on loopback. Use it as a context manager, or call :meth:`start` and :meth:`stop`.

    :param folder: an absent or empty folder; None for a new one in the temporary folder.
    :param seed: fill it with about twenty profiles of every kind (:mod:`keyturn_sandbox.seed`).
    :param fixed: use the same secrets, IDs and start time in each run, for screenshots. The clock then
        differs from real time, so AWS clients that check an expiry themselves disagree with it.
    :param port: 0 for any free port.
    :ivar home: HOME of all programs in the sandbox.
    :ivar faults: ordered faults for the next calls.
    :ivar calls: received calls, oldest first. Clear the list to restart counting.
    """

    def __init__(
        self, folder: Path | None = None, *, seed: bool = True, fixed: bool = False, port: int = 0
    ) -> None:
        self._requested_folder = folder
        self._seed = seed
        self._fixed = fixed
        self._port = port
        self._owner = os.getpid()
        self._running = False

    def start(self) -> Self:
        """Create the folder, start the server, write the files.

        :raises FileExistsError: if the folder is not empty.
        :raises OSError: if the port is in use.
        """
        clear_leftovers()
        self._folder = Folder(self._requested_folder)
        self.folder = self._folder.path
        self.home = self.folder / "home"
        self._owner = os.getpid()
        try:
            self._open()
        except BaseException:
            self._folder.remove()
            raise
        self._running = True
        atexit.register(self.stop)
        return self

    def _open(self) -> None:
        for name in ("home", "home/.aws", "keyturn", INBOX):
            (self.folder / name).mkdir(mode=0o700)
        clock = _aws_clock(self.folder)
        self.state = SandboxState(
            (lambda: FIXED_START) if self._fixed else clock, IdGenerator(fixed=self._fixed)
        )
        self.faults = Faults(self.folder)
        service = Service(self.state, self.faults)
        self.calls = service.calls
        self._server = LoopbackServer(service, self._port)
        try:
            self.url, self.port = self._server.url, self._server.port
            self.environ: Mapping[str, str] = environ_for(self.folder, self.url, os.environ)
            write_private(self.folder / "env", shell_file(self.folder, self.url))
            write_private(self.folder / DEVICES_FILE, "{}")
            if self._seed:
                seeds.plant(self.state, self.home, self.add_device)
            if self._fixed:
                self.move_clock((FIXED_START - system_clock()).total_seconds())
                self.state.now = clock
        except BaseException:
            self._server.server_close()
            raise
        self._server.start()

    def stop(self) -> None:
        """Stop the server and remove the folder. Does nothing in a forked child."""
        if not self._running or os.getpid() != self._owner:
            return
        self._running = False
        atexit.unregister(self.stop)
        self._server.stop()
        self._folder.remove()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def join_line(self) -> str:
        """Shell command that joins another shell to the sandbox."""
        return f". {self.folder}/env"

    def now(self) -> datetime:
        """Return the time of AWS in the sandbox."""
        return self.state.now()

    def move_clock(self, seconds: float) -> None:
        """Move the sandbox's clock forward (or back) by `seconds`. Signatures are still validated by real
        time."""
        move_clock(self.folder, seconds)

    def add_device(self, user: User, name: str, *, profiles: tuple[str, ...] = ()) -> MfaDevice:
        """Add an MFA device to `user`. :meth:`totp` finds it by its serial, its name, the user's name and the
        names of `profiles`."""
        device = self.state.add_device(user, name, seeds.mfa_seed(name))
        self._show(device, {name, user.name, *profiles})
        return device

    def add_hardware_device(self, user: User, serial: str) -> MfaDevice:
        """Add a hardware MFA device to `user`. :meth:`totp` finds it by its serial number."""
        device = self.state.add_hardware_device(user, serial, seeds.mfa_seed(serial))
        self._show(device, {serial})
        return device

    def _show(self, device: MfaDevice, names: set[str]) -> None:
        """Register a device under `names` for :func:`totp`, which other processes may call."""
        if device.seed is None:
            return
        devices = json.loads((self.folder / DEVICES_FILE).read_text("utf-8"))
        devices[device.serial] = {"seed": device.seed.reveal(), "names": sorted(names)}
        write_private(self.folder / DEVICES_FILE, json.dumps(devices, indent=1) + "\n")

    def totp(self, device: str) -> str:
        """Return the current code of a device; `device` is its serial or name, its user's name or a profile
        name.

        :raises LookupError: if there is no such device.
        """
        return totp(self.folder, device)


def move_clock(folder: Path, seconds: float) -> float:
    """Move the clock of the sandbox at `folder`. Return its total offset in seconds."""
    path = folder / OFFSET_FILE
    offset = read_offset(path) + seconds
    write_private(path, f"{offset!r}\n")
    return offset


def totp(folder: Path, device: str) -> str:
    """Return the current code of `device` in the sandbox at `folder`.

    :raises LookupError: if there is no such device.
    """
    now = _aws_clock(folder)
    devices = json.loads((folder / DEVICES_FILE).read_text("utf-8"))
    for serial, entry in devices.items():
        if device == serial or device in entry["names"]:
            return code_for(entry["seed"], step_at(now()))
    raise LookupError(f"MFA device not found: {device}. Available: {', '.join(devices) or 'none'}")


def _aws_clock(folder: Path) -> Clock:
    """Return the clock of AWS in the sandbox at `folder`, which MFA devices share: keyturn's movable clock
    plus the ordered skew."""
    clock = clock_for({"KEYTURN_SANDBOX": str(folder), "KEYTURN_HOME": str(folder / "keyturn")})
    return lambda: clock() + timedelta(seconds=skew_of(folder))
