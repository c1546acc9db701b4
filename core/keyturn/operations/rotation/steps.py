"""Steps of a rotation after its new key is in the journal. Each step is recorded before the next one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from keyturn.aws.api import Aws, ListedKey
from keyturn.model.errors import AwsError, AwsRefused, ClockSkew, KeyturnError, Unreachable
from keyturn.model.profile import Credentials, Delivery, Key
from keyturn.model.text import masked_key_id
from keyturn.operations.context import Context, key_entry
from keyturn.operations.credentials import mfa_sessions, refresh
from keyturn.operations.rotation import record_store
from keyturn.operations.rotation.observe import copies_of, rotation_halted
from keyturn.operations.rotation.progress import Progress, progress_of
from keyturn.operations.rotation.record import Record, Step
from keyturn.operations.rotation.signer import UNKNOWN_KEY_CODES, KeySigner
from keyturn.operations.rotation.state_machine import PROPAGATION_TIME, required_entries
from keyturn.profiles.status import source_of
from keyturn.storage.index import Index

#: Successful calls in a row before a key is relied on, because results vary while IAM propagates a key
#: (aws-facts 5).
VERIFY_CALLS = 3
#: Seconds between these calls, because calls at the same moment may reach the same server.
VERIFY_PAUSE = 1.0
#: First and longest wait in seconds before a key that is not known everywhere is tried again.
FIRST_WAIT, LONGEST_WAIT = 1.0, 8.0


@dataclass(frozen=True)
class RotationSteps:
    """The steps of one rotation record."""

    context: Context
    record: Record
    key_signer: KeySigner
    listed: Mapping[str, ListedKey] = field(default_factory=dict)
    """The user's keys as AWS has just listed them, by key id."""

    def verify(self) -> Progress:
        """Verify the new key with three calls in a row."""
        error = self.verification_error(self._new())
        if error is not None:
            return self.wait_for_propagation(error)
        return self._save_step(Step.VERIFIED, "AWS accepts it")

    def verification_error(self, key: Credentials) -> AwsError | None:
        """Return None if AWS accepts `key` as the user's three times in a row, else the error.

        :raises RotationHalted: if the key belongs to another identity.
        :raises ClockSkew: or `Unreachable`: neither says anything about the key.
        """
        for attempt in range(VERIFY_CALLS):
            if attempt:
                self.context.sleep(VERIFY_PAUSE)
            try:
                identity = self.key_signer.aws().get_caller_identity(key)
            except (ClockSkew, Unreachable):
                raise
            except AwsError as error:
                return error
            if identity.arn != self.record.user:
                why = (
                    f"{masked_key_id(key.access_key_id)} belongs to {identity.arn}, not to {self.record.user}"
                )
                raise rotation_halted(self.record, why, progress_of(self.record).summary())
        return None

    def store(self) -> Progress:
        """Replace the old key with the new one in every vault entry, and keep the old one as `previous`."""
        self._replace_key(self.record.old, self._new())
        mfa_sessions.transfer_mfa_sessions(
            self.context, self.record.old.access_key_id, self._new().access_key_id
        )
        return self._save_step(Step.STORED, "the vault uses it")

    def deliver(self) -> Progress:
        """Renew the sessions in the credentials file from the new key, where that needs no user."""
        failures = [note for name in self._delivered_profiles() if (note := self._renew(name))]
        progress = self._save_step(Step.DELIVERED, "sessions in the credentials file are renewed")
        return replace(progress, note="; ".join(failures))

    def deactivate(self) -> Progress:
        """Deactivate the old key. The call is signed with the new one, which proves that it works for IAM
        too."""
        old = masked_key_id(self.record.old.access_key_id)
        copies = copies_of(self.context.read(), self.record.old)
        if copies:
            why = f"{old} is a plaintext key in the shared files now, for {', '.join(copies)}, and would stop working there"
            command = f"keyturn rotate {self.record.profile}"
            hint = f"Adopt it: keyturn adopt {copies[0]}; then continue: {command} --resume; or undo: {command} --undo"
            raise rotation_halted(self.record, why, hint)
        try:
            self._set_status(self.record.old, "Inactive", (self._new(),))
        except AwsRefused as error:
            if self.is_propagating() and (error.code in UNKNOWN_KEY_CODES or error.code == "AccessDenied"):
                return self.wait_for_propagation(error)
            if error.code != "AccessDenied":
                raise
            why = f"the new key is in use, but iam:UpdateAccessKey is denied, so {old} stays active"
            return progress_of(self.record, is_halted=True, note=f"{why}: {error.why}")
        return self._save_step(Step.DEACTIVATED, f"{old} is deactivated")

    def delete_old(self) -> Progress:
        """Delete the old key. The user has confirmed it."""
        self._delete(self.record.old, (self._new(),))
        try:
            return self.close()
        except KeyturnError as error:
            old, command = (
                masked_key_id(self.record.old.access_key_id),
                f"keyturn rotate {self.record.profile}",
            )
            error.hint = f"{old} is deleted at AWS. Free disk space or fix the permissions, then run: {command} --resume"
            raise

    def close(self) -> Progress:
        """End a rotation whose old key is deleted, and remove its secret from the journal and the vault."""
        self._remove_previous()
        record = self._save(self.record.without_old_secret(), Step.DONE)
        self.context.log_success(
            self.record.profile, "rotate", f"done, {masked_key_id(self.record.old.access_key_id)} is deleted"
        )
        return progress_of(record)

    def reactivate(self) -> Progress:
        """Reactivate the old key."""
        signers = tuple(key for key in (self.record.new, self.record.old) if key is not None)
        self._set_status(self.record.old, "Active", signers)
        self.context.log_success(
            self.record.profile, "rotate", f"{masked_key_id(self.record.old.access_key_id)} is reactivated"
        )
        record = replace(self.record, is_reactivated=True)
        return progress_of(record_store.save_step(self.context, record, self.record.step), wait=FIRST_WAIT)

    def store_old(self) -> Progress:
        """Replace the new key with the old one in the vault."""
        return progress_of(self.revert_to_old())

    def restore_old(self) -> None:
        """Replace the new key with the old one in the vault, and write no record."""
        self._replace_key(self._new(), self.record.old)
        mfa_sessions.transfer_mfa_sessions(
            self.context, self._new().access_key_id, self.record.old.access_key_id
        )

    def revert_to_old(self) -> Record:
        """Replace the new key with the old one in the vault, and return the updated record."""
        if self.record.new is not None:
            self.restore_old()
        return self._save(self.record, Step.VERIFIED)

    def deactivate_new(self) -> Progress:
        """Deactivate the new key and delete it. AWS may list it as active for a while."""
        with ignore_access_denied():
            self._set_status(self._new(), "Inactive", (self.record.old,))
        return self.delete_new()

    def delete_new(self) -> Progress:
        """Delete the new key, which is not used any more."""
        if not self._delete(self._new(), (self.record.old,)) and self.is_propagating():
            return progress_of(self.record, wait=FIRST_WAIT, note="AWS has not propagated the new key yet")
        return self.give_up()

    def give_up(self) -> Progress:
        """End a rotation after which the old key is the only one again."""
        self._remove_previous()
        record = self._save(self.record, Step.UNDONE)
        self.context.log_success(self.record.profile, "rotate", "undone")
        return progress_of(record)

    def record_deactivated(self) -> Progress:
        """Record that AWS already lists the old key as inactive: someone deactivated it, or our process ended between
        UpdateAccessKey and the record."""
        return self._save_step(
            Step.DEACTIVATED, f"{masked_key_id(self.record.old.access_key_id)} is already inactive"
        )

    def restart_wait(self) -> Progress:
        """Start the wait again after the clock was set back."""
        record = replace(self.record, started=self.context.clock())
        return progress_of(record_store.save_step(self.context, record, self.record.step), wait=FIRST_WAIT)

    def as_undo(self) -> RotationSteps:
        """Return the same steps for an undo."""
        return replace(self, record=replace(self.record, is_undoing=True))

    def cancel_undo(self) -> Record:
        """Cancel an undo that cannot succeed, because the old key is unusable. Return the updated record."""
        return record_store.save_step(
            self.context, replace(self.record, is_undoing=False, is_reactivated=False), self.record.step
        )

    # -- inside ---------------------------------------------------------------------------------------------------

    def _new(self) -> Credentials:
        if self.record.new is None:
            raise rotation_halted(
                self.record,
                "the record has no new key",
                f"Run: keyturn rotate {self.record.profile} --status",
            )
        return self.record.new

    def _save_step(self, step: Step, text: str) -> Progress:
        record = self._save(self.record, step)
        self.context.log_success(
            self.record.profile, "rotate", f"{step} {masked_key_id(self._new().access_key_id)}: {text}"
        )
        return progress_of(record, is_halted=step is Step.DEACTIVATED)

    def _save(self, record: Record, step: Step) -> Record:
        return record_store.save_step(
            self.context, record.with_step(step, self.context.clock()), self.record.step
        )

    def _age(self) -> timedelta:
        return self.context.clock() - self.record.step_times.get(Step.CREATED, self.record.started)

    def is_propagating(self) -> bool:
        """Return True while AWS may not know the new key everywhere."""
        return self._age() < PROPAGATION_TIME

    def wait_for_propagation(self, error: AwsError) -> Progress:
        """Return the progress of a rotation that waits until AWS knows the new key everywhere."""
        wait = min(LONGEST_WAIT, max(FIRST_WAIT, self._age().total_seconds() / 4))
        return progress_of(
            self.record, wait=wait, note=f"AWS has not propagated the new key yet ({error.why})"
        )

    def _set_status(self, key: Credentials, status: str, signers: tuple[Credentials, ...]) -> None:
        def call(aws: Aws, signer: Credentials) -> None:
            aws.set_access_key_status(signer, self.record.user_name, key.access_key_id, status)

        self.key_signer.call(signers, call)

    def _delete(self, key: Credentials, signers: tuple[Credentials, ...]) -> bool:
        """Delete a key at AWS. Return False if AWS says that it does not exist."""

        def call(aws: Aws, signer: Credentials) -> None:
            aws.delete_access_key(signer, self.record.user_name, key.access_key_id)

        try:
            self.key_signer.call(signers, call)
        except AwsRefused as error:
            if error.code != "NoSuchEntity":
                raise
            return False
        return True

    def _replace_key(self, old_key: Credentials, new_key: Credentials) -> None:
        """Replace `old_key` with `new_key` in every vault entry that holds it, and read the entries back.

        :raises KeyturnError: if the vault refuses, or returns another value.
        """
        new_entry = {"key_id": new_key.access_key_id, "secret": new_key.secret_access_key.reveal()}
        new_entry["previous"] = {
            "key_id": old_key.access_key_id,
            "secret": old_key.secret_access_key.reveal(),
        }  # type: ignore[assignment]
        changed: list[str] = []

        def edit(entries: dict[str, Any]) -> None:
            stale = [
                name
                for name, entry in entries.items()
                if name.startswith(key_entry("")) and entry.get("key_id") == old_key.access_key_id
            ]
            # A restored vault may hold another key or none in these entries. Both keys of the user are known
            # here.
            stale += [
                name for name in required if entries.get(name, {}).get("key_id") != new_key.access_key_id
            ]
            for name in dict.fromkeys(stale):
                entries[name] = dict(new_entry)
                changed.append(name)

        with self.context.state_lock():
            required = self._required_entries()
            generation = self.context.vault.change_keys(edit)
            if any(self.context.vault.key(name) != new_entry for name in changed):
                raise KeyturnError(
                    f"Rotation of {self.record.profile} stopped", "the vault did not return the key that was written",
                    "Run: keyturn vault status",
                )  # fmt: skip
            prefix = len(key_entry(""))
            self.context.update_index(
                lambda index: _set_index_keys(
                    index,
                    [name[prefix:] for name in changed],
                    self.record.user,
                    self._id_and_created(new_key),
                    generation,
                )
            )

    def _id_and_created(self, key: Credentials) -> tuple[str, datetime | None]:
        """Return a key's id and its creation time, or None if that is unknown."""
        if self.record.new is not None and key.access_key_id == self.record.new.access_key_id:
            return key.access_key_id, self.record.created
        listed = self.listed.get(key.access_key_id)
        return key.access_key_id, listed.created if listed else None

    def _required_entries(self) -> list[str]:
        """Return the vault entries that must hold the key."""
        used_entries = {profile.key for profile in self.context.read().definitions.values()}
        return [key_entry(name) for name in required_entries(self.record, used_entries)]

    def _remove_previous(self) -> None:
        """Remove the `previous` key from the vault entries of this rotation."""

        def edit(entries: dict[str, Any]) -> None:
            for name, entry in entries.items():
                if name.startswith(key_entry("")) and entry.get("key_id") in self._key_ids():
                    entry.pop("previous", None)

        with self.context.state_lock():
            generation = self.context.vault.change_keys(edit)
        self.context.update_index(
            lambda index: replace(index, vault_generation=max(index.vault_generation, generation))
        )

    def _key_ids(self) -> set[str]:
        return {key.access_key_id for key in (self.record.old, self.record.new) if key is not None}

    def _delivered_profiles(self) -> list[str]:
        """Return the profiles that use the key and whose session is in the credentials file."""
        inventory = self.context.read()
        return [
            name
            for name, profile in inventory.definitions.items()
            if profile.delivery is Delivery.CREDENTIALS_FILE
            and inventory.index.of(name).delivered is not None
            and source_of(profile, inventory.natives, inventory.definitions)[0] in self.record.entries
        ]

    def _renew(self, name: str) -> str:
        """Renew a profile's session. Return why that failed, or an empty string. The old session stays valid
        until it expires."""
        try:
            refresh.renew(self.context, name)
        except KeyturnError as error:
            return f"{name} keeps its old session until it expires: {error.why}"
        return ""


@contextlib.contextmanager
def ignore_access_denied() -> Iterator[None]:
    """Ignore a failed deactivation before a deletion: it is not permitted, or the key is not known yet."""
    try:
        yield
    except AwsRefused as error:
        if error.code not in ("AccessDenied", "NoSuchEntity"):
            raise


def _set_index_keys(
    index: Index, names: list[str], user: str, facts: tuple[str, datetime | None], generation: int
) -> Index:
    key_id, created = facts
    for name in names:
        index.keys[name] = Key(key_id, user=user, created=created, status="Active")
    return replace(index, vault_generation=max(index.vault_generation, generation))
