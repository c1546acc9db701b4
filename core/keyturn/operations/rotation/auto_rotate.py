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
PAUSE = timedelta(hours=1)


@dataclass
class AutoRotation:
    """What one agent remembers of its tries. Used by one thread at a time."""

    context: Context
    last_checked: dict[str, datetime] = field(default_factory=dict)
    failed: dict[str, datetime] = field(default_factory=dict)
    """When the last try for a profile went wrong."""

    def run(self, may_go_on: Callable[[], bool] = lambda: True) -> None:
        """Looks after every key once."""
        if not may_go_on():
            return
        with contextlib.suppress(VaultError):  # whoever needs the journal is told
            record_store.sync_index(self.context)
        key_metadata.refresh_due_key_metadata(self.context, self.last_checked)
        inventory = self.context.read()
        wanted = [one for one in inventory.definitions.values() if one.rotate is Rotate.AUTO and one.key]
        if not wanted:
            return
        try:
            known = {entry: record for record in records(self.context) for entry in record.entries}
        except VaultError:
            return  # nobody knows what waits
        for one in wanted:
            if may_go_on() and not self._has_paused(one.name):
                self._run(inventory, one, known.get(one.key or ""))

    def _has_paused(self, name: str) -> bool:
        since = self.context.clock() - self.failed.get(
            name, datetime.min.replace(tzinfo=self.context.clock().tzinfo)
        )
        return timedelta(0) <= since < PAUSE

    def _run(self, inventory: Inventory, one: ManagedProfile, record: Record | None) -> None:
        try:
            if record is not None and not record.step.is_last:
                if (
                    record.profile == one.name
                    and not record.is_undoing
                    and record.step is not Step.DEACTIVATED
                ):
                    self._note(one.name, runner.advance(self.context, one.name, None).is_halted)
            elif self._is_overdue(inventory, one) and not _was_taken_back(record, inventory, one):
                create_key.start(self.context, one.name, None)
        except KeyturnError:
            self.failed[one.name] = self.context.clock()

    def _note(self, name: str, halted: object) -> None:
        """What waits for a person is not tried again and again."""
        if halted:
            self.failed[name] = self.context.clock()

    @staticmethod
    def _is_overdue(inventory: Inventory, one: ManagedProfile) -> bool:
        return inventory.row(one.name).rotation.state is RotationState.OVERDUE


def _was_taken_back(record: Record | None, inventory: Inventory, one: ManagedProfile) -> bool:
    """Whether a person went back to the very key that is in use: what was undone is not begun again by itself."""
    key = inventory.index.keys.get(one.key or "")
    return (
        record is not None
        and record.step is Step.UNDONE
        and record.is_undoing
        and key is not None
        and key.key_id == record.old.access_key_id
    )
