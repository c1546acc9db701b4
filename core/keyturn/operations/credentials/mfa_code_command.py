"""MFA codes from the person's `mfa_command`: each used once, and never asked for in a storm.

AWS takes a code once, and a device shows the same one for 30 seconds. What was used, and how often AWS refused, is noted
by device for all processes, so that a client which asks again and again cannot have the user locked out.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from keyturn.aws.deadline import MAX_SECONDS, Deadline
from keyturn.model.errors import KeyturnError, NeedsMfa
from keyturn.operations.context import Context
from keyturn.providers import mfa_command
from keyturn.storage.config import Command, Config
from keyturn.system import files

#: How long a device shows one code (RFC 6238, as AWS's virtual devices have it).
CODE_SECONDS = 30
#: So many refused codes of one device, and the command is asked no more until a code that a person types is taken.
MAX_REFUSALS = 3
#: Seconds that a refusal of AWS to give a user a session is believed: a policy may change.
NO_SESSION_TOKEN_SECONDS = 12 * 3600


@dataclass(frozen=True)
class CommandMfaCodes:
    """The commands of one person's preferences, and what became of their codes."""

    context: Context
    config: Config
    config_error: str | None = None
    """Why the preferences cannot be read; what they name is then unknown, not none."""
    sleep: Callable[[float], None] = time.sleep

    def has_command(self, profile: str, serial: str) -> bool:
        """Whether a program shows the codes of a device, so that no person has to, as far as that is known."""
        return self.config_error is not None or bool(self.config.code_command(profile, serial))

    def code(self, profile: str, serial: str, deadline: Deadline) -> str:
        """A code of `serial` that was not used before; waits for the next one where this one was.

        :param deadline: is credited with the time that this takes.
        :raises NeedsMfa: no code is to be had from the command: a person must type one.
        """
        if self.config_error is not None:
            file = self.context.paths.config_file
            raise self._needs_code(
                profile, serial, f"{file} is not used, so no mfa_command is asked: {self.config_error}"
            )
        command = self.config.code_command(profile, serial)
        started = time.monotonic()
        timeout = deadline.left(MAX_SECONDS) - mfa_command.TIMEOUT_SECONDS
        with self.context.source_lock("mfa-" + _digest(serial), timeout):
            self._limit_refusals(profile, serial, command)
            left = timeout - (time.monotonic() - started)
            if not self._wait_for_unused_code(serial, left):
                why = "the code that its device shows was used already, and the next comes too late"
                raise self._needs_code(profile, serial, why)
            try:
                code = mfa_command.run(command, serial, self.context.environ)
            except mfa_command.CommandFailed as error:
                raise self._needs_code(profile, serial, f"{error.what}: {error.why}") from None
            self._update_device(serial, lambda state: state | {"step": self._current_step()})
        deadline.add_time(time.monotonic() - started, "waiting for an MFA code")
        return code

    def record_use(self, serial: str) -> None:
        """Notes that the code which the device shows now has been used, whatever AWS makes of it."""
        with contextlib.suppress(KeyturnError):
            self._update_device(serial, lambda state: state | {"step": self._current_step()})

    def record_refusal(self, profile: str, serial: str) -> None:
        """Notes that AWS refused a code of the device."""
        command = self.config.code_command(profile, serial)

        def count(state: dict[str, Any]) -> dict[str, Any]:
            previous = state.get("refused", 0) if state.get("command") == _digest(*command) else 0
            return state | {"refused": previous + 1, "command": _digest(*command)}

        with contextlib.suppress(KeyturnError):
            self._update_device(serial, count)

    def record_acceptance(self, serial: str) -> None:
        """Notes that AWS took a code of the device: the count of refusals begins anew."""
        if self._device_state(serial).get("refused"):
            with contextlib.suppress(KeyturnError):
                self._update_device(serial, lambda state: state | {"refused": 0})

    def refuses_session_tokens(self, serial: str) -> bool:
        """Whether AWS refuses to give the user of a device a session for its codes."""
        since = self._device_state(serial).get("alone")
        return (
            isinstance(since, int)
            and abs(self.context.clock().timestamp() - since) < NO_SESSION_TOKEN_SECONDS
        )

    def record_session_token_refusal(self, serial: str) -> None:
        """Notes that it does."""
        with contextlib.suppress(KeyturnError):
            self._update_device(
                serial, lambda state: state | {"alone": int(self.context.clock().timestamp())}
            )

    def _limit_refusals(self, profile: str, serial: str, command: Command) -> None:
        state = self._device_state(serial)
        if state.get("refused", 0) >= MAX_REFUSALS and state.get("command") == _digest(*command):
            why = f"AWS refused the last {MAX_REFUSALS} codes of mfa_command {command[0]}, so it is asked no more"
            raise self._needs_code(profile, serial, why)

    @staticmethod
    def _needs_code(profile: str, serial: str, why: str) -> NeedsMfa:
        hint = f"Type a code: keyturn refresh {profile}"
        return NeedsMfa(f"session for {profile}", why, hint, profile=profile, serial=serial)

    def _wait_for_unused_code(self, serial: str, seconds: float) -> bool:
        """Waits until the device shows another code than the one that was used; False if that takes too long."""
        used = self._device_state(serial).get("step", -1)
        now = self.context.clock().timestamp()
        # A step that lies ahead was noted by a clock that has been set back since.
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

    def _update_device(self, serial: str, edit: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        def on_bytes(old: bytes | None) -> bytes:
            table = _decode(old)
            table[serial] = edit(table.get(serial, {}))
            return json.dumps({"version": 1, "devices": table}, indent=1).encode()

        path = self.context.paths.mfa_file
        files.change(path, on_bytes, what=f"writing {path}")


def _decode(content: bytes | None) -> dict[str, dict[str, Any]]:
    """The devices by serial; none for what is not ours: it is a memory of minutes, and may be lost."""
    try:
        devices = json.loads(content or b"{}").get("devices", {})
        return {
            str(serial): {
                key: state[key]
                for key in ("step", "refused", "command", "alone")
                if isinstance(state.get(key), int | str)
            }
            for serial, state in devices.items()
        }
    except (ValueError, AttributeError, RecursionError):
        return {}


def _digest(*words: str) -> str:
    return hashlib.sha256("\0".join(words).encode("utf-8", "surrogateescape")).hexdigest()[:24]
