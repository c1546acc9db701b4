"""The moves of a rotation after its new key is in the journal, each written down before the next."""

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

#: So many answers in a row before a key is relied on: while IAM spreads it, answers flap (aws-facts 5).
VERIFY_CALLS = 3
#: Seconds between them; answers of one moment may come from one place.
VERIFY_PAUSE = 1.0
#: Seconds before a key that is not known everywhere yet is tried again, at first and at most.
FIRST_WAIT, LONGEST_WAIT = 1.0, 8.0


@dataclass(frozen=True)
class RotationSteps:
    """The acts on one record."""

    context: Context
    record: Record
    key_signer: KeySigner
    listed: Mapping[str, ListedKey] = field(default_factory=dict)
    """The user's keys as AWS listed them a moment ago, by id."""

    def verify(self) -> Progress:
        """Has AWS answer to the new key, three times in a row."""
        error = self.verification_error(self._new())
        if error is not None:
            return self.wait_for_propagation(error)
        return self._save_step(Step.VERIFIED, "it answers")

    def verification_error(self, key: Credentials) -> AwsError | None:
        """None once AWS answered three times in a row that `key` is the user's; else why not.

        :raises RotationHalted: it is somebody else's.
        :raises ClockSkew: or `Unreachable`: that says nothing about the key.
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
                    f"{masked_key_id(key.access_key_id)} answers as {identity.arn}, not as {self.record.user}"
                )
                raise rotation_halted(self.record, why, progress_of(self.record).summary())
        return None

    def store(self) -> Progress:
        """Makes the new key the vault's, wherever the old one was; the old one is kept beside it."""
        self._replace_key(self.record.old, self._new())
        mfa_sessions.transfer_mfa_sessions(
            self.context, self.record.old.access_key_id, self._new().access_key_id
        )
        return self._save_step(Step.STORED, "it is the vault's key now")

    def deliver(self) -> Progress:
        """Brings what stands in the credentials file onto the new key, as far as no person is needed for that."""
        failures = [note for name in self._delivered_profiles() if (note := self._renew(name))]
        progress = self._save_step(Step.DELIVERED, "what rests on it is delivered")
        return replace(progress, note="; ".join(failures))

    def deactivate(self) -> Progress:
        """Switches the old key off, signed by the new one: that proves it for IAM too."""
        old = masked_key_id(self.record.old.access_key_id)
        copies = copies_of(self.context.read(), self.record.old)
        if copies:
            why = f"{old} stands in clear in the shared files by now, for {', '.join(copies)}, and would stop working there"
            command = f"keyturn rotate {self.record.profile}"
            hint = f"Adopt it: keyturn adopt {copies[0]}, then go on: {command} --resume; or back: {command} --undo"
            raise rotation_halted(self.record, why, hint)
        try:
            self._set_status(self.record.old, "Inactive", (self._new(),))
        except AwsRefused as error:
            if self.is_propagating() and (error.code in UNKNOWN_KEY_CODES or error.code == "AccessDenied"):
                return self.wait_for_propagation(error)
            if error.code != "AccessDenied":
                raise
            why = f"the new key is in use, and iam:UpdateAccessKey is not allowed to switch {old} off"
            return progress_of(self.record, is_halted=True, note=f"{why}: {error.why}")
        return self._save_step(Step.DEACTIVATED, f"{old} is switched off")

    def delete_old(self) -> Progress:
        """Deletes the old key; a person has said so."""
        self._delete(self.record.old, (self._new(),))
        try:
            return self.close()
        except KeyturnError as error:
            old, command = (
                masked_key_id(self.record.old.access_key_id),
                f"keyturn rotate {self.record.profile}",
            )
            error.hint = f"{old} is deleted at AWS all the same. Make room or fix the permissions, then end it: {command} --resume"
            raise

    def close(self) -> Progress:
        """Ends a rotation whose old key is gone: its secret goes too, from the journal and from the vault."""
        self._remove_previous()
        record = self._save(self.record.without_old_secret(), Step.DONE)
        self.context.log_success(
            self.record.profile, "rotate", f"done, {masked_key_id(self.record.old.access_key_id)} is deleted"
        )
        return progress_of(record)

    def reactivate(self) -> Progress:
        """Switches the old key on again."""
        signers = tuple(key for key in (self.record.new, self.record.old) if key is not None)
        self._set_status(self.record.old, "Active", signers)
        self.context.log_success(
            self.record.profile,
            "rotate",
            f"{masked_key_id(self.record.old.access_key_id)} is switched on again",
        )
        record = replace(self.record, is_reactivated=True)
        return progress_of(record_store.save_step(self.context, record, self.record.step), wait=FIRST_WAIT)

    def store_old(self) -> Progress:
        """Makes the old key the vault's again."""
        return progress_of(self.revert_to_old())

    def restore_old(self) -> None:
        """Makes the old key the vault's again, and writes no record."""
        self._replace_key(self._new(), self.record.old)
        mfa_sessions.transfer_mfa_sessions(
            self.context, self._new().access_key_id, self.record.old.access_key_id
        )

    def revert_to_old(self) -> Record:
        """The same; the record as it is then."""
        if self.record.new is not None:
            self.restore_old()
        return self._save(self.record, Step.VERIFIED)

    def deactivate_new(self) -> Progress:
        """Switches the new key off and deletes it; AWS may go on listing it as active for a while."""
        with ignore_access_denied():
            self._set_status(self._new(), "Inactive", (self.record.old,))
        return self.delete_new()

    def delete_new(self) -> Progress:
        """Deletes the new key, which nothing uses any more."""
        if not self._delete(self._new(), (self.record.old,)) and self.is_propagating():
            return progress_of(
                self.record, wait=FIRST_WAIT, note="AWS does not know the new key everywhere yet"
            )
        return self.give_up()

    def give_up(self) -> Progress:
        """Ends a rotation after which the old key is the only one again."""
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
        """Begins to wait anew, by a clock that was set back."""
        record = replace(self.record, started=self.context.clock())
        return progress_of(record_store.save_step(self.context, record, self.record.step), wait=FIRST_WAIT)

    def as_undo(self) -> RotationSteps:
        """The moves of the way back."""
        return replace(self, record=replace(self.record, is_undoing=True))

    def cancel_undo(self) -> Record:
        """Turns an undoing round: what it would go back to is gone."""
        return record_store.save_step(
            self.context, replace(self.record, is_undoing=False, is_reactivated=False), self.record.step
        )

    # -- inside ---------------------------------------------------------------------------------------------------

    def _new(self) -> Credentials:
        if self.record.new is None:
            raise rotation_halted(
                self.record,
                "its record names no new key",
                f"See: keyturn rotate {self.record.profile} --status",
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
        """Whether AWS may not know the new key everywhere yet."""
        return self._age() < PROPAGATION_TIME

    def wait_for_propagation(self, error: AwsError) -> Progress:
        """The progress where AWS has yet to spread the new key."""
        wait = min(LONGEST_WAIT, max(FIRST_WAIT, self._age().total_seconds() / 4))
        return progress_of(
            self.record, wait=wait, note=f"AWS does not know the new key everywhere yet ({error.why})"
        )

    def _set_status(self, key: Credentials, status: str, signers: tuple[Credentials, ...]) -> None:
        def call(aws: Aws, signer: Credentials) -> None:
            aws.set_access_key_status(signer, self.record.user_name, key.access_key_id, status)

        self.key_signer.call(signers, call)

    def _delete(self, key: Credentials, signers: tuple[Credentials, ...]) -> bool:
        """Deletes a key at AWS; False where AWS says that there is none."""

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
        """Puts one key in the place of the other in every entry of the vault that holds it, and reads that back.

        :raises KeyturnError: the vault refuses, or gives back something else.
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
            # An older state of the vault may have another key there by now, or none: both of the user's are known here.
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
                    f"rotation of {self.record.profile}", "the vault did not give back the key that was put in",
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
        """A key's id, and when it was made, as far as that is known."""
        if self.record.new is not None and key.access_key_id == self.record.new.access_key_id:
            return key.access_key_id, self.record.created
        listed = self.listed.get(key.access_key_id)
        return key.access_key_id, listed.created if listed else None

    def _required_entries(self) -> list[str]:
        """The entries that must hold the key."""
        used_entries = {profile.key for profile in self.context.read().definitions.values()}
        return [key_entry(name) for name in required_entries(self.record, used_entries)]

    def _remove_previous(self) -> None:
        """Takes the other key's secret out of the entries of this one."""

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
        """Profiles that rest on the key and whose session stands in the credentials file."""
        inventory = self.context.read()
        return [
            name
            for name, profile in inventory.definitions.items()
            if profile.delivery is Delivery.CREDENTIALS_FILE
            and inventory.index.of(name).delivered is not None
            and source_of(profile, inventory.natives, inventory.definitions)[0] in self.record.entries
        ]

    def _renew(self, name: str) -> str:
        """Delivers a profile anew; why not, where that does not work: what stands there is valid until it ends."""
        try:
            refresh.renew(self.context, name)
        except KeyturnError as error:
            return f"{name} keeps its old session until that ends: {error.why}"
        return ""


@contextlib.contextmanager
def ignore_access_denied() -> Iterator[None]:
    """Goes on to the deletion of a key where it cannot be switched off first: not allowed, or not known yet."""
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
