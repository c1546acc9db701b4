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
STEP = 30
#: So many refused codes of one device, and the command is asked no more until a code that a person types is taken.
MOST_REFUSED = 3
#: Seconds that a refusal of AWS to give a user a session is believed: a policy may change.
ALONE = 12 * 3600


@dataclass(frozen=True)
class CommandMfaCodes:
    """The commands of one person's preferences, and what became of their codes."""

    context: Context
    config: Config
    fault: str | None = None
    """Why the preferences cannot be read; what they name is then unknown, not none."""
    sleep: Callable[[float], None] = time.sleep

    def has_command(self, profile: str, serial: str) -> bool:
        """Whether a program shows the codes of a device, so that no person has to, as far as that is known."""
        return self.fault is not None or bool(self.config.code_command(profile, serial))

    def code(self, profile: str, serial: str, deadline: Deadline) -> str:
        """A code of `serial` that was not used before; waits for the next one where this one was.

        :param deadline: is credited with the time that this takes.
        :raises NeedsMfa: no code is to be had from the command: a person must type one.
        """
        if self.fault is not None:
            file = self.context.paths.config_file
            raise self._needs(
                profile, serial, f"{file} is not used, so no mfa_command is asked: {self.fault}"
            )
        command = self.config.code_command(profile, serial)
        began = time.monotonic()
        patience = deadline.left(MAX_SECONDS) - mfa_command.SECONDS
        with self.context.source_lock("mfa-" + _digest(serial), patience):
            self._limit_refusals(profile, serial, command)
            left = patience - (time.monotonic() - began)
            if not self._wait_for_unused_code(serial, left):
                why = "the code that its device shows was used already, and the next comes too late"
                raise self._needs(profile, serial, why)
            try:
                found = mfa_command.run(command, serial, self.context.environ)
            except mfa_command.CommandFailed as error:
                raise self._needs(profile, serial, f"{error.what}: {error.why}") from None
            self._note(serial, lambda one: one | {"step": self._step()})
        deadline.add_time(time.monotonic() - began, "waiting for an MFA code")
        return found

    def used(self, serial: str) -> None:
        """Notes that the code which the device shows now has been used, whatever AWS makes of it."""
        with contextlib.suppress(KeyturnError):
            self._note(serial, lambda one: one | {"step": self._step()})

    def refused(self, profile: str, serial: str) -> None:
        """Notes that AWS refused a code of the device."""
        command = self.config.code_command(profile, serial)

        def count(one: dict[str, Any]) -> dict[str, Any]:
            before = one.get("refused", 0) if one.get("command") == _digest(*command) else 0
            return one | {"refused": before + 1, "command": _digest(*command)}

        with contextlib.suppress(KeyturnError):
            self._note(serial, count)

    def accepted(self, serial: str) -> None:
        """Notes that AWS took a code of the device: the count of refusals begins anew."""
        if self._known(serial).get("refused"):
            with contextlib.suppress(KeyturnError):
                self._note(serial, lambda one: one | {"refused": 0})

    def refuses_session_tokens(self, serial: str) -> bool:
        """Whether AWS refuses to give the user of a device a session for its codes."""
        since = self._known(serial).get("alone")
        return isinstance(since, int) and abs(self.context.clock().timestamp() - since) < ALONE

    def record_session_token_refusal(self, serial: str) -> None:
        """Notes that it does."""
        with contextlib.suppress(KeyturnError):
            self._note(serial, lambda one: one | {"alone": int(self.context.clock().timestamp())})

    def _limit_refusals(self, profile: str, serial: str, command: Command) -> None:
        known = self._known(serial)
        if known.get("refused", 0) >= MOST_REFUSED and known.get("command") == _digest(*command):
            why = f"AWS refused the last {MOST_REFUSED} codes of mfa_command {command[0]}, so it is asked no more"
            raise self._needs(profile, serial, why)

    @staticmethod
    def _needs(profile: str, serial: str, why: str) -> NeedsMfa:
        hint = f"Type a code: keyturn refresh {profile}"
        return NeedsMfa(f"session for {profile}", why, hint, profile=profile, serial=serial)

    def _wait_for_unused_code(self, serial: str, seconds: float) -> bool:
        """Waits until the device shows another code than the one that was used; False if that takes too long."""
        used = self._known(serial).get("step", -1)
        now = self.context.clock().timestamp()
        # A step that lies ahead was noted by a clock that has been set back since.
        if used != now // STEP:
            return True
        pause = (used + 1) * STEP - now + 0.2
        if pause > seconds:
            return False
        self.sleep(pause)
        return True

    def _step(self) -> int:
        return int(self.context.clock().timestamp() // STEP)

    def _known(self, serial: str) -> dict[str, Any]:
        try:
            return _decode(files.read(self.context.paths.mfa_file)).get(serial, {})
        except OSError:
            return {}

    def _note(self, serial: str, edit: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        def on_bytes(old: bytes | None) -> bytes:
            table = _decode(old)
            table[serial] = edit(table.get(serial, {}))
            return json.dumps({"version": 1, "devices": table}, indent=1).encode()

        path = self.context.paths.mfa_file
        files.change(path, on_bytes, what=f"writing {path}")


def _decode(content: bytes | None) -> dict[str, dict[str, Any]]:
    """The devices by serial; none for what is not ours: it is a memory of minutes, and may be lost."""
    try:
        found = json.loads(content or b"{}").get("devices", {})
        return {
            str(serial): {
                key: one[key]
                for key in ("step", "refused", "command", "alone")
                if isinstance(one.get(key), int | str)
            }
            for serial, one in found.items()
        }
    except (ValueError, AttributeError, RecursionError):
        return {}


def _digest(*words: str) -> str:
    return hashlib.sha256("\0".join(words).encode("utf-8", "surrogateescape")).hexdigest()[:24]
