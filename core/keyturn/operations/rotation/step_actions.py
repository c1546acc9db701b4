"""Actions of a rotation after its new key is in the journal. Each step is recorded before the next one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from keyturn.aws.api import ListedKey
from keyturn.model.errors import THEN_RUN, AwsError, AwsRefused, ClockSkew, KeyturnError, Remedy, Unreachable
from keyturn.model.profile import Credentials, Delivery
from keyturn.model.text import masked_key_id
from keyturn.operations.context import Context
from keyturn.operations.credentials import refresh, session_cache
from keyturn.operations.rotation import record_store, vault_keys
from keyturn.operations.rotation.key_signer import UNKNOWN_KEY_CODES, KeySigner, no_working_key
from keyturn.operations.rotation.progress import Progress, progress_of, rotation_halted
from keyturn.operations.rotation.record import Record, Step
from keyturn.operations.rotation.state_machine import NextStep
from keyturn.profiles.status import source_of

#: Successful calls in a row before a key is relied on, because results vary while IAM propagates a key.
VERIFY_CALLS = 3
#: Seconds between these calls, because calls at the same moment may reach the same server.
VERIFY_PAUSE = 1.0
#: First and longest wait in seconds before a key that is not known everywhere is tried again.
FIRST_WAIT, LONGEST_WAIT = 1.0, 8.0


@dataclass(frozen=True)
class StepActions:
    """The actions of one rotation record. Each returns the progress after its step."""

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
                raise rotation_halted(
                    self.record,
                    f"{masked_key_id(key.access_key_id)} belongs to {identity.arn}, "
                    f"not to {self.record.user}",
                    progress_of(self.record).summary_parts(),
                )
        return None

    def store(self) -> Progress:
        """Replace the old key with the new one in every vault entry, and keep the old one as `previous`."""
        self._replace_key(self.record.old, self._new(), self.record.created)
        return self._save_step(Step.STORED, "the vault uses it")

    def deliver(self) -> Progress:
        """Renew the sessions in the credentials file from the new key, where that needs no user. An old
        session stays valid until it expires."""
        failures = []
        for name in self._delivered_profiles():
            try:
                refresh.renew(self.context, name)
            except KeyturnError as error:
                failures.append(f"{name} keeps its old session until it expires: {error.why}")
        progress = self._save_step(Step.DELIVERED, "sessions in the credentials file are renewed")
        return replace(progress, note="; ".join(failures))

    def deactivate(self) -> Progress:
        """Deactivate the old key. The call is signed with the new one, which proves that it works for IAM
        too."""
        record, old = self.record, self.record.masked_old_id
        copies = vault_keys.copies_of(self.context.read(), record.old)
        if copies:
            raise rotation_halted(
                record,
                f"{old} is a plaintext key in the shared files now, for {', '.join(copies)}, "
                "and would stop working there",
                (
                    "Adopt it: ", Remedy("adopt", copies[0]),
                    "; then continue: ", Remedy("rotate", record.profile, "--resume"),
                    "; or undo: ", Remedy("rotate", record.profile, "--undo"),
                ),
            )  # fmt: skip
        try:
            self.key_signer.set_status((self._new(),), record.user_name, record.old.access_key_id, "Inactive")
        except AwsRefused as error:
            if self.record.is_propagating(self.context.clock()) and (
                error.code in UNKNOWN_KEY_CODES or error.code == "AccessDenied"
            ):
                return self.wait_for_propagation(error)
            if error.code != "AccessDenied":
                raise
            why = f"the new key is in use, but iam:UpdateAccessKey is denied, so {old} stays active"
            return progress_of(record, is_halted=True, note=f"{why}: {error.why}")
        return self._save_step(Step.DEACTIVATED, f"{old} is deactivated")

    def delete_old(self) -> Progress:
        """Delete the old key. The user has confirmed it."""
        self._delete(self.record.old, self._new())
        try:
            return self.close()
        except KeyturnError as error:
            error.hint = (
                f"{self.record.masked_old_id} is deleted at AWS. ",
                "Free disk space or fix the permissions, then ",
                THEN_RUN,
                Remedy("rotate", self.record.profile, "--resume"),
            )
            raise

    def close(self) -> Progress:
        """End a rotation whose old key is deleted, and remove its secret from the journal and the vault."""
        self._remove_previous()
        record = self._save(Step.DONE, self.record.without_old_secret())
        self._log(f"done, {self.record.masked_old_id} is deleted")
        return progress_of(record)

    def reactivate(self) -> Progress:
        """Reactivate the old key.

        :raises RotationHalted: if AWS accepts neither key.
        """
        record, old_id = self.record, self.record.old.access_key_id
        listed = self.listed.get(old_id)
        try:
            self.key_signer.set_status(tuple(record.keys.values()), record.user_name, old_id, "Active")
        except AwsRefused as error:
            now = self.context.clock()
            if error.code in UNKNOWN_KEY_CODES and not record.is_propagating(now):
                raise no_working_key(self.context, record) from None
            # A user that may not update keys has not deactivated this one, and it is verified next.
            if error.code != "AccessDenied" or listed is None or listed.status != "Active":
                raise
        else:
            self._log(f"{record.masked_old_id} is reactivated")
        return self._save_and_wait(replace(record, is_reactivated=True))

    def store_old(self) -> Progress:
        """Replace the new key with the old one in the vault."""
        return progress_of(self._revert_to_old())

    def undo_without_new(self) -> Progress:
        """Return to the old key after the new one was deleted at AWS, with the effect of an undo."""
        record = replace(self._revert_to_old(), is_undoing=True)
        return replace(self, record=record).give_up()

    def _revert_to_old(self) -> Record:
        if self.record.new is not None:
            self.restore_old()
        return self._save(Step.VERIFIED)

    def restore_old(self) -> None:
        """Replace the new key with the old one in the vault, and write no record."""
        listed = self.listed.get(self.record.old.access_key_id)
        self._replace_key(self._new(), self.record.old, listed.created if listed else None)

    def deactivate_new(self) -> Progress:
        """Deactivate the new key and delete it. AWS may list it as active for a while."""
        new_id = self._new().access_key_id
        self.key_signer.deactivate_if_allowed((self.record.old,), self.record.user_name, new_id)
        return self.delete_new()

    def delete_new(self) -> Progress:
        """Delete the new key, which is not used any more."""
        if not self._delete(self._new(), self.record.old) and self.record.is_propagating(
            self.context.clock()
        ):
            return progress_of(self.record, wait=FIRST_WAIT, note="AWS has not propagated the new key yet")
        return self.give_up()

    def give_up(self) -> Progress:
        """End a rotation after which the old key is the only one again."""
        self._remove_previous()
        record = self._save(Step.UNDONE)
        self._log("undone")
        return progress_of(record)

    def record_deactivated(self) -> Progress:
        """Record that AWS already lists the old key as inactive: someone deactivated it, or our process ended
        between UpdateAccessKey and the record."""
        return self._save_step(Step.DEACTIVATED, f"{self.record.masked_old_id} is already inactive")

    def restart_wait(self) -> Progress:
        """Start the wait again after the clock was set back."""
        return self._save_and_wait(replace(self.record, started=self.context.clock()))

    def wait_for_propagation(self, error: AwsError) -> Progress:
        """Return the progress of a rotation that waits until AWS knows the new key everywhere."""
        age = self.record.new_key_age(self.context.clock()).total_seconds()
        return progress_of(
            self.record,
            wait=min(LONGEST_WAIT, max(FIRST_WAIT, age / 4)),
            note=f"AWS has not propagated the new key yet ({error.why})",
        )

    # -- inside ----------------------------------------------------------------------------------------------

    def _new(self) -> Credentials:
        if self.record.new is None:
            raise rotation_halted(
                self.record, "the record has no new key", Remedy("rotate", self.record.profile, "--status")
            )
        return self.record.new

    def _log(self, message: str) -> None:
        self.context.log_success(self.record.profile, "rotate", message)

    def _save_step(self, step: Step, text: str) -> Progress:
        record = self._save(step)
        self._log(f"{step} {masked_key_id(self._new().access_key_id)}: {text}")
        return progress_of(record, is_halted=step is Step.DEACTIVATED)

    def _save(self, step: Step, record: Record | None = None) -> Record:
        """Save the record, by default the unchanged one, with `step` completed now."""
        updated = (record or self.record).with_step(step, self.context.clock())
        return record_store.save_step(self.context, updated, self.record.step)

    def _save_and_wait(self, record: Record) -> Progress:
        """Save a record whose step is unchanged."""
        return progress_of(record_store.save_step(self.context, record, record.step), wait=FIRST_WAIT)

    def _delete(self, key: Credentials, signer: Credentials) -> bool:
        """Delete a key at AWS. Return False if AWS says that it does not exist."""
        try:
            self.key_signer.delete((signer,), self.record.user_name, key.access_key_id)
        except AwsRefused as error:
            if error.code != "NoSuchEntity":
                raise
            return False
        return True

    def _replace_key(self, old_key: Credentials, new_key: Credentials, created: datetime | None) -> None:
        """Replace a key in the vault, and keep its MFA sessions."""
        vault_keys.replace_key(self.context, self.record, old_key, new_key, created)
        session_cache.transfer_mfa_sessions(self.context, old_key.access_key_id, new_key.access_key_id)

    def _remove_previous(self) -> None:
        """Remove the `previous` key from the vault entries of this rotation."""
        vault_keys.remove_previous(self.context, lambda entry: entry.get("key_id") in self.record.keys)

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


#: The actions of the steps that need no decision.
ACTIONS: Mapping[NextStep, Callable[[StepActions], Progress]] = {
    NextStep.VERIFY: StepActions.verify,
    NextStep.STORE: StepActions.store,
    NextStep.DELIVER: StepActions.deliver,
    NextStep.DEACTIVATE: StepActions.deactivate,
    NextStep.RECORD_DEACTIVATED: StepActions.record_deactivated,
    NextStep.RESTART_WAIT: StepActions.restart_wait,
    NextStep.CLOSE: StepActions.close,
    NextStep.GIVE_UP: StepActions.give_up,
    NextStep.REACTIVATE: StepActions.reactivate,
    NextStep.STORE_OLD: StepActions.store_old,
    NextStep.DEACTIVATE_NEW: StepActions.deactivate_new,
    NextStep.DELETE_NEW: StepActions.delete_new,
}
