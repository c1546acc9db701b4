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
    Remedy,
    RotationHalted,
    WrongMfaCode,
)
from keyturn.model.json_codec import to_table
from keyturn.model.profile import Key, Profile, rotation_of
from keyturn.model.text import iso, masked_key_id
from keyturn.operations.rotation.delete_key import DeletionFacts, Obstacle
from keyturn.operations.rotation.progress import Progress
from keyturn.operations.rotation.record import GRACE_PERIOD, Step

if TYPE_CHECKING:
    from tests.tui.memory_service import MemoryService

NEW = "AKIAEXAMPLE0000NEW2"
DEVICE = "arn:aws:iam::444455556666:mfa/jo"
_ON = (Step.VERIFIED, Step.STORED, Step.DELIVERED, Step.DEACTIVATED)


@dataclass
class RunningRotation:
    """A running rotation."""

    old: Key
    step: Step
    new: Key | None = None
    is_undoing: bool = False
    off_since: datetime | None = None


class MemoryRotation:
    """An implementation of `RotationPort`."""

    def __init__(self, service: MemoryService) -> None:
        self._service = service
        self._rotations: dict[str, RunningRotation] = {}
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
        profile = self._require_key(name)
        self._record_call("begin", name, code)
        if name in self._rotations:
            raise RotationHalted(f"rotation of {name}", f"one waits at step {self._rotations[name].step}")
        if self.other_slot is not None:
            hint = ("See which is idle: ", Remedy("rotate", name, "--status"))
            raise RotationHalted(f"rotation of {name}", "both key slots of the user are used", hint)
        assert profile.key is not None
        rotation = self._rotations[name] = RunningRotation(profile.key, Step.INTENT)
        if self.loses_reply:
            self.orphan = NEW
            self._update_snapshot(name)
            return self._progress(name, wait=self.wait or 0.01, note="no answer to iam:CreateAccessKey")
        rotation.new = replace(profile.key, key_id=NEW, created=self._service.now())
        return self._reach(name, Step.CREATED)

    def advance(self, name: str, code: str | None = None) -> Progress:
        self._record_call("on", name, code)
        rotation = self._rotation(name)
        if rotation.is_undoing:
            return self._on_back(name, rotation)
        if rotation.step is Step.INTENT:
            return self._after_intent(name)
        if rotation.step is Step.DEACTIVATED:
            return self._progress(name, is_halted=True)
        if rotation.step is Step.CREATED and self.spreads:
            self.spreads -= 1
            return self._progress(name, wait=self.wait, note="AWS does not know the new key everywhere yet")
        following = _ON[_ON.index(rotation.step) + 1] if rotation.step in _ON else Step.VERIFIED
        if following is Step.DEACTIVATED:
            rotation.off_since = self._service.now()
        return self._reach(name, following, is_halted=following is Step.DEACTIVATED)

    def undo(self, name: str, code: str | None = None) -> Progress:
        self._record_call("back", name, code)
        rotation = self._rotation(name)
        if rotation.step is not Step.INTENT:
            rotation.is_undoing = True
        self._update_snapshot(name)
        return self._progress(name, wait=0.01)

    def deletion_facts(self, name: str, code: str | None = None) -> DeletionFacts:
        self._record_call("ending", name, code)
        return self._deletion_facts(self._require_deletion_step(name))

    def _deletion_facts(self, rotation: RunningRotation) -> DeletionFacts:
        obstacles = {}
        use, until = self.last_use, self._deletable_from(rotation)
        if (
            use is not None
            and use.at is not None
            and rotation.new
            and rotation.new.created
            and use.at > rotation.new.created
        ):
            obstacles[Obstacle.USED] = "it was used after the new key was made: something still has it"
        if until is not None and self._service.now() < until:
            obstacles[Obstacle.GRACE] = "its time of grace ends in 24h"
        return DeletionFacts.of(rotation.old.key_id, use, obstacles)

    def finish(
        self, name: str, last_four: str | None, code: str | None = None, force: tuple[Obstacle, ...] = ()
    ) -> Progress:
        self._record_call("finish", name, code)
        rotation = self._require_deletion_step(name)
        facts, what = self._deletion_facts(rotation), f"deletion of {masked_key_id(rotation.old.key_id)}"
        if last_four not in (None, rotation.old.key_id[-4:]):
            raise NeedsConfirmation(what, "these are not its last four characters")
        if set(facts.obstacles) - set(force):
            raise RotationHalted(what, "; ".join(facts.warnings))
        if last_four is None:
            raise NeedsConfirmation(what, "it cannot be undone")
        return self._reach(name, Step.DONE)

    def delete_other_key(self, name: str, last_four: str, code: str | None = None) -> str:
        self._record_call("drop", name, code)
        own = {key.key_id for key in self._own_keys(name)}
        if last_four in {key_id[-4:] for key_id in own}:
            raise RotationHalted(f"Could not delete a key of {name}", "the vault holds it")
        target = self.orphan or (self.other_slot.key_id if self.other_slot else "")
        if not target or target[-4:] != last_four:
            raise NotFound(f"key of {name}", f"the user has none that ends in {last_four}")
        self.orphan = self.other_slot = None
        if name in self._rotations:
            self._reach(name, Step.UNDONE)
        return f"deleted {masked_key_id(target)}, which keyturn did not hold"

    def status(self, name: str, code: str | None = None) -> dict[str, Any]:
        self._record_call("status", name, code)
        current, rotation = self._require_key(name).key, self._rotations.get(name)
        keys = [(key, "current" if key is current else "previous") for key in self._own_keys(name)]
        rows = [*keys, *([(self.other_slot, None)] if self.other_slot else [])]
        progress = self._progress(name) if rotation is not None else None
        user = f"arn:aws:iam::444455556666:user/{name}"
        users = [row.name for row in self._service._rows() if row.managed and row.source == name]
        unused = {"age_days": 40, "last_used": None, "last_used_by": None, "known": True, "busy": None}
        return {
            "profile": name,
            "user": user,
            "gone": [],
            "used_by": users,
            "rotation": to_table(progress) if progress is not None else None,
            "keys": [
                {
                    "key_id": key.key_id,
                    "status": self._status_of(key, rotation),
                    "created": iso(key.created),
                    "held": held,
                    **unused,
                }
                for key, held in rows
            ],
        }

    def _own_keys(self, name: str) -> list[Key]:
        """Return the keys that the vault holds for a profile: the old and the new one during a rotation."""
        rotation, key = self._rotations.get(name), self._service._profile(name).key
        if rotation is None:
            return [key] if key is not None else []
        return [each for each in (rotation.old, rotation.new) if each is not None]

    def _status_of(self, key: Key, rotation: RunningRotation | None) -> str | None:
        is_off = rotation is not None and key is rotation.old and rotation.off_since is not None
        return "Inactive" if is_off else key.status

    def _require_key(self, name: str) -> Profile:
        """Return a profile with an access key in the vault, which a rotation would replace."""
        profile = self._service._profile(name)
        if profile.key is None or not profile.managed:
            raise KeyturnError(f"Could not rotate {name}", "it has no access key of its own")
        return profile

    def _require_deletion_step(self, name: str) -> RunningRotation:
        rotation = self._rotation(name)
        if rotation.step is not Step.DEACTIVATED or rotation.is_undoing:
            raise RotationHalted(f"Rotation of {name} stopped", "the old key is deleted last")
        return rotation

    @property
    def operations(self) -> list[str]:
        """Return the requested operations in order."""
        return [what for what, _ in self.calls]

    def _record_call(self, what: str, name: str, code: str | None) -> None:
        self.calls.append((what, code))
        if self.gate is not None:
            self.gate.wait(10)
        self._service._need_vault()
        if self.raises:
            raise self.raises.popleft()
        if not self.wants_code:
            return
        if code is None:
            what = f"rotation of {name}"
            raise NeedsMfa(what, "it needs an MFA code", "Type it", profile=name, serial=DEVICE)
        if code not in self._service.good_codes:
            raise WrongMfaCode(f"rotation of {name}", "AWS refused the code", "Wait for the next")
        self._service.good_codes.discard(code)
        self.wants_code = False  # the session of that code does the rest

    def _after_intent(self, name: str) -> Progress:
        if self.orphan is not None:
            return self._progress(name, is_halted=True, orphans=(self.orphan,))
        return self._reach(name, Step.UNDONE)

    def _on_back(self, name: str, rotation: RunningRotation) -> Progress:
        if rotation.step in (Step.CREATED, Step.VERIFIED):
            return self._reach(name, Step.UNDONE)
        return self._reach(name, Step.VERIFIED)

    def _rotation(self, name: str) -> RunningRotation:
        if name not in self._rotations:
            raise NotFound(f"rotation of {name}", "there is none")
        return self._rotations[name]

    def _reach(self, name: str, step: Step, **more: Any) -> Progress:
        self._rotations[name].step = step
        progress = self._progress(name, **more)
        self._update_snapshot(name)
        if step.is_last:
            del self._rotations[name]
        return progress

    def _progress(self, name: str, **more: Any) -> Progress:
        rotation = self._rotations[name]
        return Progress(
            profile=name,
            user=f"arn:aws:iam::444455556666:user/{name}",
            old_id=rotation.old.key_id,
            step=rotation.step,
            new_id=rotation.new.key_id if rotation.new else None,
            is_undoing=rotation.is_undoing,
            deletable_from=self._deletable_from(rotation),
            **more,
        )

    def _deletable_from(self, rotation: RunningRotation) -> datetime | None:
        return (
            rotation.off_since + GRACE_PERIOD
            if rotation.off_since and rotation.step is Step.DEACTIVATED
            else None
        )

    def _update_snapshot(self, name: str) -> None:
        """Update the snapshot, as the index does."""
        rotation = self._rotations[name]
        is_new = rotation.step.is_at_least(Step.STORED) and rotation.step is not Step.UNDONE
        key = rotation.new if rotation.new is not None and is_new else rotation.old
        waits = None if rotation.step.is_last else "undoing" if rotation.is_undoing else str(rotation.step)
        now = self._service.now()
        profile = self._service._profile(name)
        self._service._replace(
            replace(profile, key=key, rotation=rotation_of(key, 90, now, pending_step=waits))
        )
