"""Rotations in memory with the states of the real ones: two key slots, a new key that AWS does not know at
once, a record that stays until the rotation ends, a typed word that deletes.

The test sets the failures: `raises` is raised once, by the next operation; `wants_code` is a policy that asks
for MFA; `loses_reply` makes a key whose secret never arrives; `spreads` is the number of times that AWS does
not know the new key yet.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from keyturn.aws.api import LastUse
from keyturn.model.errors import (
    KeyturnError,
    NeedsConfirmation,
    NeedsMfa,
    NotFound,
    RotationHalted,
    WrongMfaCode,
)
from keyturn.model.profile import Key, rotation_of
from keyturn.model.text import masked_key_id
from keyturn.operations.rotation.delete_key import DeletionFacts
from keyturn.operations.rotation.progress import Progress
from keyturn.operations.rotation.record import GRACE_PERIOD, Step

if TYPE_CHECKING:
    from tests.tui.memory_service import MemoryService

NEW = "AKIAEXAMPLE0000NEW2"
DEVICE = "arn:aws:iam::444455556666:mfa/jo"
_ON = (Step.VERIFIED, Step.STORED, Step.DELIVERED, Step.DEACTIVATED)


@dataclass
class Turn:
    """A running rotation."""

    old: Key
    step: Step
    new: Key | None = None
    is_undoing: bool = False
    off_since: datetime | None = None


class MemoryRotation:
    """An implementation of `RotationPort`."""

    def __init__(self, keeper: MemoryService) -> None:
        self._keeper = keeper
        self._turns: dict[str, Turn] = {}
        self.calls: list[tuple[str, str | None]] = []
        self.raises: deque[Exception] = deque()
        self.wants_code = False
        self.loses_reply = False
        self.spreads = 0
        self.wait = 0.0
        self.other_slot: Key | None = None
        self.orphan: str | None = None
        self.last_use: LastUse | None = LastUse(None)
        self.gate: threading.Event | None = None

    def start(self, name: str, code: str | None = None) -> Progress:
        self._arrive("begin", name, code)
        profile = self._keeper._profile(name)
        if name in self._turns:
            raise RotationHalted(f"rotation of {name}", f"one waits at step {self._turns[name].step}")
        if profile.key is None or not profile.managed:
            raise KeyturnError(f"rotation of {name}", "it has no long-term key of its own")
        if self.other_slot is not None:
            hint = f"See which is idle: keyturn rotate {name} --status"
            raise RotationHalted(f"rotation of {name}", "both key slots of the user are used", hint)
        turn = self._turns[name] = Turn(profile.key, Step.INTENT)
        if self.loses_reply:
            self.orphan = NEW
            self._note(name)
            return self._progress(name, wait=self.wait or 0.01, note="no answer to iam:CreateAccessKey")
        turn.new = replace(profile.key, key_id=NEW, created=self._keeper.now())
        return self._reached(name, Step.CREATED)

    def advance(self, name: str, code: str | None = None) -> Progress:
        self._arrive("on", name, code)
        turn = self._turn(name)
        if turn.is_undoing:
            return self._on_back(name, turn)
        if turn.step is Step.INTENT:
            return self._after_intent(name)
        if turn.step is Step.DEACTIVATED:
            return self._progress(name, is_halted=True)
        if turn.step is Step.CREATED and self.spreads:
            self.spreads -= 1
            return self._progress(name, wait=self.wait, note="AWS does not know the new key everywhere yet")
        following = _ON[_ON.index(turn.step) + 1] if turn.step in _ON else Step.VERIFIED
        if following is Step.DEACTIVATED:
            turn.off_since = self._keeper.now()
        return self._reached(name, following, is_halted=following is Step.DEACTIVATED)

    def undo(self, name: str, code: str | None = None) -> Progress:
        self._arrive("back", name, code)
        turn = self._turn(name)
        if turn.step is not Step.INTENT:
            turn.is_undoing = True
        self._note(name)
        return self._progress(name, wait=0.01)

    def deletion_facts(self, name: str, code: str | None = None) -> DeletionFacts:
        self._arrive("ending", name, code)
        turn = self._turn(name)
        against = []
        use, until = self.last_use, self._deletable_from(turn)
        if (
            use is not None
            and use.at is not None
            and turn.new
            and turn.new.created
            and use.at > turn.new.created
        ):
            against.append("it was used after the new key was made: something still has it")
        if until is not None and self._keeper.now() < until:
            against.append("its time of grace ends in 24h")
        return DeletionFacts.of(turn.old.key_id, use, tuple(against))

    def finish(self, name: str, last_four: str | None, code: str | None = None) -> Progress:
        self._arrive("finish", name, code)
        turn = self._turn(name)
        if last_four != turn.old.key_id[-4:]:
            raise NeedsConfirmation(f"deletion of {masked_key_id(turn.old.key_id)}", "it cannot be undone")
        return self._reached(name, Step.DONE)

    def delete_other_key(self, name: str, last_four: str, code: str | None = None) -> str:
        self._arrive("drop", name, code)
        target = self.orphan or (self.other_slot.key_id if self.other_slot else "")
        if not target or target[-4:] != last_four:
            raise NotFound(f"key of {name}", f"the user has none that ends in {last_four}")
        self.orphan = self.other_slot = None
        if name in self._turns:
            self._reached(name, Step.UNDONE)
        return f"deleted {masked_key_id(target)}, which keyturn did not hold"

    def status(self, name: str, code: str | None = None) -> dict[str, Any]:
        self._arrive("status", name, code)
        mine = self._keeper._profile(name).key
        keys = [(mine, "current"), (self.other_slot, None)]
        return {
            "profile": name,
            "keys": [
                {
                    "key_id": key.key_id, "status": key.status, "age_days": 40, "last_used": None,
                    "last_used_by": None, "known": True, "held": held, "busy": None,
                }
                for key, held in keys
                if key is not None
            ],
        }  # fmt: skip

    @property
    def done(self) -> list[str]:
        """Return the requested operations in order."""
        return [what for what, _ in self.calls]

    def _arrive(self, what: str, name: str, code: str | None) -> None:
        self.calls.append((what, code))
        if self.gate is not None:
            self.gate.wait(10)
        self._keeper._need_vault(f"rotation of {name}")
        if self.raises:
            raise self.raises.popleft()
        if not self.wants_code:
            return
        if code is None:
            what = f"rotation of {name}"
            raise NeedsMfa(what, "it needs an MFA code", "Type it", profile=name, serial=DEVICE)
        if code not in self._keeper.good_codes:
            raise WrongMfaCode(f"rotation of {name}", "AWS refused the code", "Wait for the next")
        self._keeper.good_codes.discard(code)
        self.wants_code = False  # the session of that code does the rest

    def _after_intent(self, name: str) -> Progress:
        if self.orphan is not None:
            return self._progress(name, is_halted=True, orphans=(self.orphan,))
        return self._reached(name, Step.UNDONE)

    def _on_back(self, name: str, turn: Turn) -> Progress:
        if turn.step in (Step.CREATED, Step.VERIFIED):
            return self._reached(name, Step.UNDONE)
        return self._reached(name, Step.VERIFIED)

    def _turn(self, name: str) -> Turn:
        if name not in self._turns:
            raise NotFound(f"rotation of {name}", "there is none")
        return self._turns[name]

    def _reached(self, name: str, step: Step, **more: Any) -> Progress:
        self._turns[name].step = step
        progress = self._progress(name, **more)
        self._note(name)
        if step.is_last:
            del self._turns[name]
        return progress

    def _progress(self, name: str, **more: Any) -> Progress:
        turn = self._turns[name]
        return Progress(
            profile=name, user=f"arn:aws:iam::444455556666:user/{name}", old_id=turn.old.key_id, step=turn.step,
            new_id=turn.new.key_id if turn.new else None, is_undoing=turn.is_undoing,
            deletable_from=self._deletable_from(turn), **more,
        )  # fmt: skip

    def _deletable_from(self, turn: Turn) -> datetime | None:
        return turn.off_since + GRACE_PERIOD if turn.off_since and turn.step is Step.DEACTIVATED else None

    def _note(self, name: str) -> None:
        """Update the snapshot, as the index does."""
        turn = self._turns[name]
        is_new = turn.step.is_at_least(Step.STORED) and turn.step is not Step.UNDONE
        key = turn.new if turn.new is not None and is_new else turn.old
        waits = None if turn.step.is_last else "undoing" if turn.is_undoing else str(turn.step)
        now = self._keeper.now()
        profile = self._keeper._profile(name)
        self._keeper._replace(
            replace(profile, key=key, rotation=rotation_of(key, 90, now, pending_step=waits))
        )
