"""Automatic rotation in the agent: updates key metadata, and rotates the overdue keys of profiles with
`rotate=auto`.

It never deletes a key and never retries a rotation that the user undid. Each run performs one step per key,
so that session renewal does not wait for IAM.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from keyturn.model.errors import KeyturnError, VaultError
from keyturn.model.profile import Rotate, RotationState
from keyturn.operations import key_metadata
from keyturn.operations.context import Context
from keyturn.operations.rotation import advance, create_key, record_store
from keyturn.operations.rotation.record import Record, Step
from keyturn.operations.rotation.record_store import records
from keyturn.profiles.inventory import Inventory
from keyturn.storage.managed_profiles import ManagedProfile

#: Pause for a profile after a failure, which is recorded with the profile.
RETRY_PAUSE = timedelta(hours=1)


@dataclass
class AutoRotation:
    """Automatic rotation of one agent, with the times of its last attempts. Used by one thread at a time."""

    context: Context
    last_checks: dict[str, datetime] = field(default_factory=dict)
    last_failures: dict[str, datetime] = field(default_factory=dict)
    """Time of the last failure, by profile."""

    def run(self, may_continue: Callable[[], bool] = lambda: True) -> None:
        """Check every key once.

        :param may_continue: returns False once the agent must stop.
        """
        if not may_continue():
            return
        with contextlib.suppress(VaultError):  # operations that need the journal report it
            record_store.sync_index(self.context)
        key_metadata.refresh_due_key_metadata(self.context, self.last_checks)
        inventory = self.context.read()
        profiles = [
            profile
            for profile in inventory.definitions.values()
            if profile.rotate is Rotate.AUTO and profile.key
        ]
        if not profiles:
            return
        try:
            records_by_entry = {entry: record for record in records(self.context) for entry in record.entries}
        except VaultError:
            return  # the pending rotations are unknown
        for profile in profiles:
            if may_continue() and not self._is_paused(profile.name):
                self._run_profile(inventory, profile, records_by_entry.get(profile.key or ""))

    def _is_paused(self, name: str) -> bool:
        failed_at = self.last_failures.get(name)
        return failed_at is not None and timedelta(0) <= self.context.clock() - failed_at < RETRY_PAUSE

    def _run_profile(self, inventory: Inventory, profile: ManagedProfile, record: Record | None) -> None:
        name = profile.name
        try:
            if record is not None and not record.step.is_last:
                is_forward = not record.is_undoing and record.step is not Step.DEACTIVATED
                if record.profile == name and is_forward:
                    progress = advance.advance(self.context, name, None)
                    if progress.is_halted:  # it waits for a decision of the user
                        self.last_failures[name] = self.context.clock()
            elif inventory.row(name).rotation.state is RotationState.OVERDUE and not _was_undone(
                record, inventory, profile
            ):
                create_key.start(self.context, name, None)
        except KeyturnError:
            self.last_failures[name] = self.context.clock()


def _was_undone(record: Record | None, inventory: Inventory, profile: ManagedProfile) -> bool:
    """Return True if the user undid the rotation of the key that is in use. It is not rotated automatically
    again."""
    key = inventory.index.keys.get(profile.key or "")
    return (
        record is not None
        and record.step is Step.UNDONE
        and record.is_undoing
        and key is not None
        and key.key_id == record.old.access_key_id
    )
