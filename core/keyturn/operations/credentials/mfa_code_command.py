"""MFA codes from the user's `mfa_command`. Each code is used once, and repeated refusals stop the command.

AWS accepts a code once, and a device shows the same one for 30 seconds. Used codes and refusals are stored by
device for all processes, because a client that retries in a loop could otherwise lock the user out.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from keyturn.aws.deadline import MAX_SECONDS, Deadline
from keyturn.model.errors import ChangeRefused, KeyturnError, NeedsMfa, Remedy, newer_file
from keyturn.operations.context import Context
from keyturn.providers import mfa_command
from keyturn.storage.config import Command, Config
from keyturn.system import files

VERSION = 1
#: Seconds for which a device shows one code (RFC 6238; AWS virtual MFA devices).
CODE_SECONDS = 30
#: After this many refused codes of one device the command is not run until AWS accepts a typed code.
MAX_REFUSALS = 3
#: Seconds after which GetSessionToken is tried again for a user whom AWS denied it, because a policy may
#: change.
NO_SESSION_TOKEN_SECONDS = 12 * 3600


@dataclass(frozen=True)
class CommandMfaCodes:
    """MFA commands of `config.toml`, and the results of their codes."""

    context: Context
    config: Config
    config_error: str | None = None
    """Error from reading `config.toml`. The commands are unknown then."""
    sleep: Callable[[float], None] = time.sleep
    records_answers: bool = field(default=True, kw_only=True)
    """False for an endpoint that only the caller names, because its answers could stop the command."""

    def has_command(self, profile: str, serial: str) -> bool:
        """Return True if a command shows the codes of a device, or if that is unknown because `config.toml`
        is unreadable.
        """
        return self.config_error is not None or bool(self.config.code_command(profile, serial))

    def code(self, profile: str, serial: str, deadline: Deadline) -> str:
        """Return an unused code of a device. Wait for the next one if the current one has been used.

        :param deadline: is extended by the time that this takes.
        :raises NeedsMfa: if the command yields no code, so that a person must type one.
        """
        if self.config_error is not None:
            raise self._needs_code(
                profile,
                serial,
                f"mfa_command is unknown, because {self.context.paths.config_file} is invalid: "
                f"{self.config_error}",
            )
        command = self.config.code_command(profile, serial)
        started = time.monotonic()
        timeout = deadline.left(MAX_SECONDS) - mfa_command.TIMEOUT_SECONDS
        with self.context.source_lock("mfa-" + _digest(serial), timeout):
            self._limit_refusals(profile, serial, command)
            self._require_writable(profile, serial)
            left = timeout - (time.monotonic() - started)
            if not self._wait_for_unused_code(serial, left):
                raise self._needs_code(
                    profile, serial, "the current MFA code was already used, and the next one comes too late"
                )
            try:
                code = mfa_command.run(command, serial, self.context.environ)
            except mfa_command.CommandFailed as error:
                raise self._needs_code(profile, serial, f"{error.what}: {error.why}") from None
            self._update_device(serial, lambda state: state | {"step": self._current_step()})
        deadline.add_time(time.monotonic() - started, "waiting for an MFA code")
        return code

    def record_use(self, serial: str) -> None:
        """Record that the code which the device shows now was used, whatever AWS answers."""
        self._try_update(serial, lambda state: state | {"step": self._current_step()})

    def record_refusal(self, profile: str, serial: str) -> None:
        """Record that AWS refused a code of the device."""
        if not self.records_answers:
            return
        command = self.config.code_command(profile, serial)

        def count(state: dict[str, Any]) -> dict[str, Any]:
            previous = state.get("refused", 0) if state.get("command") == _digest(*command) else 0
            return state | {"refused": previous + 1, "command": _digest(*command)}

        self._try_update(serial, count)

    def record_acceptance(self, serial: str) -> None:
        """Reset the count of refusals, because AWS accepted a code of the device."""
        if self.records_answers and self._device_state(serial).get("refused"):
            self._try_update(serial, lambda state: state | {"refused": 0})

    def refuses_session_tokens(self, serial: str) -> bool:
        """Return True if AWS denied GetSessionToken to the device's user within the last 12 hours."""
        since = self._device_state(serial).get("alone")
        return (
            isinstance(since, int)
            and abs(self.context.clock().timestamp() - since) < NO_SESSION_TOKEN_SECONDS
        )

    def record_session_token_refusal(self, serial: str) -> None:
        """Record that AWS denied GetSessionToken to the device's user."""
        if not self.records_answers:
            return
        now = int(self.context.clock().timestamp())
        self._try_update(serial, lambda state: state | {"alone": now})

    def _limit_refusals(self, profile: str, serial: str, command: Command) -> None:
        state = self._device_state(serial)
        if state.get("refused", 0) >= MAX_REFUSALS and state.get("command") == _digest(*command):
            raise self._needs_code(
                profile,
                serial,
                f"AWS refused the last {MAX_REFUSALS} codes of mfa_command {command[0]}, so it is "
                "not run again",
            )

    def _require_writable(self, profile: str, serial: str) -> None:
        """Check that the use of a code can be recorded, before the command runs.

        :raises NeedsMfa: if a later version of keyturn wrote the file.
        """
        try:
            content = files.read(self.context.paths.mfa_file)
            _known_table(content, f"Could not write {self.context.paths.mfa_file}")
        except OSError:
            return
        except ChangeRefused as error:
            raise self._needs_code(profile, serial, f"{error.what}: {error.why}") from None

    @staticmethod
    def _needs_code(profile: str, serial: str, why: str) -> NeedsMfa:
        return NeedsMfa(
            f"Could not refresh {profile}",
            why,
            ("Type a code: ", Remedy("refresh", profile)),
            profile=profile,
            serial=serial,
        )

    def _wait_for_unused_code(self, serial: str, seconds: float) -> bool:
        """Wait until the device shows an unused code. Return False if that takes longer than `seconds`."""
        used = self._device_state(serial).get("step", -1)
        now = self.context.clock().timestamp()
        # A step in the future was recorded before the clock was set back.
        if used != now // CODE_SECONDS:
            return True
        pause = (used + 1) * CODE_SECONDS - now + 0.2
        if pause > seconds:
            return False
        self.sleep(pause)
        return True

    def _current_step(self) -> int:
        return int(self.context.clock().timestamp() // CODE_SECONDS)

    def _device_state(self, serial: str) -> dict[str, Any]:
        try:
            return _decode(files.read(self.context.paths.mfa_file)).get(serial, {})
        except OSError:
            return {}

    def _try_update(self, serial: str, edit: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Update a device and ignore failures, because AWS has answered already."""
        with contextlib.suppress(KeyturnError):
            self._update_device(serial, edit)

    def _update_device(self, serial: str, edit: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        path = self.context.paths.mfa_file
        what = f"Could not write {path}"
        files.change(path, lambda old: with_device(old, serial, edit, what), what=what)


def with_device(
    old: bytes | None, serial: str, edit: Callable[[dict[str, Any]], dict[str, Any]], what: str
) -> bytes:
    """Return the content of the file after `edit` of one device's state. Unknown fields are kept.

    :raises ChangeRefused: if a later version of keyturn wrote it.
    """
    table = _known_table(old, what)
    devices = table.get("devices")
    devices = devices if isinstance(devices, dict) else {}
    state = devices.get(serial)
    others = state if isinstance(state, dict) else {}
    devices[serial] = {**others, **edit(_decode(old).get(serial, {}))}
    return json.dumps({**table, "version": VERSION, "devices": devices}, indent=1).encode()


def _known_table(content: bytes | None, what: str) -> dict[str, Any]:
    """Return the whole file.

    :raises ChangeRefused: if a later version of keyturn wrote it.
    """
    table = _table(content)
    version = table.get("version")
    if type(version) is int and version > VERSION:
        raise newer_file(what, version, VERSION)
    return table


def _table(content: bytes | None) -> dict[str, Any]:
    """Return the whole file, empty for malformed content."""
    try:
        table = json.loads(content or b"{}")
    except (ValueError, RecursionError):
        return {}
    return table if isinstance(table, dict) else {}


def _decode(content: bytes | None) -> dict[str, dict[str, Any]]:
    """Return the state of each device by serial, empty for malformed content, because it may be lost without
    harm.
    """
    try:
        devices = _table(content).get("devices", {})
        return {
            str(serial): {
                key: state[key]
                for key in ("step", "refused", "command", "alone")
                if isinstance(state.get(key), int | str)
            }
            for serial, state in devices.items()
        }
    except AttributeError:
        return {}


def _digest(*words: str) -> str:
    return hashlib.sha256("\0".join(words).encode("utf-8", "surrogateescape")).hexdigest()[:24]
