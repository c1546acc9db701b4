"""Keys looked after by the agent: what is known of them, and the rotation of those whose owner wants none of the work.

It never deletes a key, never goes on with what a person took back, and makes one step at each look, so that renewing
sessions does not wait for IAM.
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
from keyturn.operations.rotation import create_key, record_store, runner
from keyturn.operations.rotation.observe import records
from keyturn.operations.rotation.record import Record, Step
from keyturn.profiles.inventory import Inventory
from keyturn.storage.managed_profiles import ManagedProfile

#: After something went wrong, which is on record with the profile.
RETRY_PAUSE = timedelta(hours=1)


@dataclass
class AutoRotation:
    """What one agent remembers of its tries. Used by one thread at a time."""

    context: Context
    last_checks: dict[str, datetime] = field(default_factory=dict)
    last_failures: dict[str, datetime] = field(default_factory=dict)
    """When the last try for a profile went wrong."""

    def run(self, may_continue: Callable[[], bool] = lambda: True) -> None:
        """Looks after every key once."""
        if not may_continue():
            return
        with contextlib.suppress(VaultError):  # whoever needs the journal is told
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
            return  # nobody knows what waits
        for profile in profiles:
            if may_continue() and not self._is_paused(profile.name):
                self._run_profile(inventory, profile, records_by_entry.get(profile.key or ""))

    def _is_paused(self, name: str) -> bool:
        elapsed = self.context.clock() - self.last_failures.get(
            name, datetime.min.replace(tzinfo=self.context.clock().tzinfo)
        )
        return timedelta(0) <= elapsed < RETRY_PAUSE

    def _run_profile(self, inventory: Inventory, profile: ManagedProfile, record: Record | None) -> None:
        try:
            if record is not None and not record.step.is_last:
                if (
                    record.profile == profile.name
                    and not record.is_undoing
                    and record.step is not Step.DEACTIVATED
                ):
                    self._pause_if_halted(
                        profile.name, runner.advance(self.context, profile.name, None).is_halted
                    )
            elif self._is_overdue(inventory, profile) and not _was_undone(record, inventory, profile):
                create_key.start(self.context, profile.name, None)
        except KeyturnError:
            self.last_failures[profile.name] = self.context.clock()

    def _pause_if_halted(self, name: str, is_halted: object) -> None:
        """What waits for a person is not tried again and again."""
        if is_halted:
            self.last_failures[name] = self.context.clock()

    @staticmethod
    def _is_overdue(inventory: Inventory, profile: ManagedProfile) -> bool:
        return inventory.row(profile.name).rotation.state is RotationState.OVERDUE


def _was_undone(record: Record | None, inventory: Inventory, profile: ManagedProfile) -> bool:
    """Whether a person went back to the very key that is in use: what was undone is not begun again by itself."""
    key = inventory.index.keys.get(profile.key or "")
    return (
        record is not None
        and record.step is Step.UNDONE
        and record.is_undoing
        and key is not None
        and key.key_id == record.old.access_key_id
    )
