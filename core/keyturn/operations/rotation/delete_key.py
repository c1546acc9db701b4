"""Delete keys at AWS: the old key at the end of a rotation, and other keys of the user that block one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Self

from keyturn.aws.api import LastUse, ListedKey
from keyturn.model.errors import (
    AwsError,
    KeyturnError,
    NeedsConfirmation,
    NotFound,
    Remedy,
    RotationHalted,
    UsageError,
)
from keyturn.model.json_codec import stored
from keyturn.model.profile import Credentials
from keyturn.model.text import iso, masked_key_id, span
from keyturn.operations import write_check
from keyturn.operations.context import Context
from keyturn.operations.operation import operation
from keyturn.operations.rotation import record_store, vault_keys
from keyturn.operations.rotation.advance import advance
from keyturn.operations.rotation.drift import find_drift
from keyturn.operations.rotation.key_signer import KeySigner
from keyturn.operations.rotation.key_status import idle_hint, last_use_text, recent_use_reason
from keyturn.operations.rotation.progress import Progress, rotation_halted
from keyturn.operations.rotation.record import GRACE_PERIOD, Record, Step, user_name
from keyturn.operations.rotation.state_machine import NextStep, ObservedKeys, next_step, orphans
from keyturn.operations.rotation.step_actions import StepActions


class Obstacle(StrEnum):
    """A fact that forbids the deletion of the old key. Its value is the word that overrides it."""

    GRACE = "grace"
    """The grace period has not ended."""
    USED = "used"
    """The key was used after the new one replaced it, or AWS does not report its last use."""


def obstacles_named(text: str) -> tuple[Obstacle, ...]:
    """Return the obstacles that a comma-separated list names.

    :raises UsageError: if it holds another word.
    """
    named = []
    for word in text.split(","):
        try:
            named.append(Obstacle(word.strip()))
        except ValueError:
            valid = f"Valid: {', '.join(Obstacle)}"
            raise UsageError("Invalid option --force", f"unknown word '{word.strip()}'", valid) from None
    return tuple(dict.fromkeys(named))


@dataclass(frozen=True, slots=True)
class DeletionFacts:
    """Facts for the decision to delete the old key."""

    old_id: str
    warnings: tuple[str, ...] = field(metadata=stored("against"))
    """A clause for each of `obstacles`, in their order."""
    is_use_known: bool = field(metadata=stored("told"))
    """AWS reported the last use, or that the key was never used."""
    use: LastUse = field(metadata=stored(flat=True))
    obstacles: tuple[Obstacle, ...] = field(default=(), metadata=stored("force"))
    """Obstacles that the user must name to delete the key now."""

    @classmethod
    def of(cls, old_id: str, use: LastUse | None, obstacles: Mapping[Obstacle, str]) -> Self:
        """Return the facts for a key.

        :param use: None if AWS does not report it.
        :param obstacles: the clause that describes each obstacle.
        """
        return cls(old_id, tuple(obstacles.values()), use is not None, use or LastUse(None), tuple(obstacles))

    @property
    def last_use(self) -> LastUse | None:
        """Return the last use as AWS reports it, or None if AWS does not report it."""
        return self.use if self.is_use_known else None


@operation("rotate-ending")
def deletion_facts(context: Context, name: str, code: str | None = None) -> DeletionFacts:
    """Return the facts about the old key of a rotation whose only step left is the deletion.

    :raises NotFound: if no rotation is pending.
    :raises RotationHalted: if other steps are left, or the keys were changed at AWS.
    """
    record = record_store.require_pending_record(context, name)
    _require_deletion_step(record)
    key_signer = KeySigner(context, record.profile, code)
    _require_deletable(record, key_signer.observe(record))
    return _deletion_facts(context, record, key_signer)


def _require_deletion_step(record: Record) -> None:
    """Require that the deletion is the only step left.

    :raises RotationHalted: if other steps are left.
    """
    if record.step is not Step.DEACTIVATED or record.is_undoing:
        option = "--undo" if record.is_undoing else "--resume"
        undo = " of the undo" if record.is_undoing else ""
        raise rotation_halted(
            record,
            f"it is at step {record.step}{undo}; the old key is deleted last",
            ("Continue first: ", Remedy("rotate", record.profile, option)),
        )


def _require_deletable(record: Record, observed: ObservedKeys) -> None:
    """Require that the new key works and the old one is inactive or deleted at AWS.

    :raises RotationHalted: if the keys or the vault were changed since the deactivation.
    """
    step = next_step(record, observed)
    if step in (NextStep.DELETE, NextStep.CLOSE):
        return
    resume = Remedy("rotate", record.profile, "--resume")
    if step is NextStep.STORE:
        raise rotation_halted(
            record, f"{record.masked_new_id} is not in the vault any more", ("Store it first: ", resume)
        )
    drift = find_drift(record, observed)
    if drift is not None:
        raise rotation_halted(record, drift.why, drift.hint)
    raise rotation_halted(
        record, f"{record.masked_old_id} is not inactive any more", ("Deactivate it first: ", resume)
    )


def _deletion_facts(context: Context, record: Record, key_signer: KeySigner) -> DeletionFacts:
    old_id, now = record.old.access_key_id, context.clock()
    use: LastUse | None = None
    obstacles = {}
    try:
        use = key_signer.last_use(record.signers(now), old_id)
    except AwsError as error:
        obstacles[Obstacle.USED] = f"it may be in use: AWS does not report its last use ({error.why})"
    stored_at = record.step_times.get(Step.STORED, record.started)
    if use is not None and use.at is not None and use.at > stored_at:
        obstacles[Obstacle.USED] = (
            f"it was used {last_use_text(use, now)}, after the new key replaced it: something still uses it"
        )
    deletable_from = record.deletable_from()
    if deletable_from is None:
        obstacles[Obstacle.GRACE] = "the time of its deactivation is unknown"
    elif now < deletable_from:
        obstacles[Obstacle.GRACE] = (
            f"its grace period ends in {span(deletable_from - now)}, at {iso(deletable_from)}"
        )
    return DeletionFacts.of(old_id, use, obstacles)


@operation("rotate-finish")
def finish(
    context: Context,
    name: str,
    code: str | None = None,
    last_four: str | None = None,
    force: tuple[Obstacle, ...] = (),
) -> Progress:
    """Delete the old key of a rotation.

    :param last_four: the old key's last four characters, as the user typed them.
    :param force: the obstacles that the user named. Each overrides itself alone.
    :raises RotationHalted: if there is an obstacle that the user did not name. Nothing has changed.
    :raises NeedsConfirmation: if the characters were not given or are wrong. Nothing has changed.
    """
    write_check.require_index(context, f"Could not finish the rotation of {name}")
    record = record_store.require_pending_record(context, name)
    key_signer = KeySigner(context, record.profile, code)
    _require_deletion_step(record)
    if next_step(record, key_signer.observe(record)) is NextStep.CLOSE:
        return advance(context, name, None)  # the old key is deleted already
    with record_store.user_lock(context, record.user):
        record = record_store.reload_record(context, record)
        _require_deletion_step(record)
        _require_deletable(record, key_signer.observe(record))
        _require_confirmation(name, _deletion_facts(context, record, key_signer), last_four, force)
        with context.log_failure(name, "rotate"):
            return StepActions(context, record, key_signer).delete_old()


def _require_confirmation(
    name: str, facts: DeletionFacts, last_four: str | None, force: tuple[Obstacle, ...]
) -> None:
    what, expected = f"Could not delete {masked_key_id(facts.old_id)}", facts.old_id[-4:]
    if last_four not in (None, expected):
        raise NeedsConfirmation(
            what,
            f"{last_four} are not its last four characters",
            ("Check the key: ", Remedy("rotate", name, "--status")),
        )
    confirm = f"--finish --confirm {expected}"
    clauses = [
        clause
        for obstacle, clause in zip(facts.obstacles, facts.warnings, strict=True)
        if obstacle not in force
    ]
    if clauses:
        override = Remedy("rotate", name, f"{confirm} --force {','.join(facts.obstacles)}")
        raise RotationHalted(what, "; ".join(clauses), ("To delete it anyway: ", override))
    if last_four is None:
        raise NeedsConfirmation(what, "it cannot be undone", Remedy("rotate", name, confirm))


@operation("rotate-drop")
def delete_other_key(context: Context, name: str, last_four: str, code: str | None = None) -> str:
    """Delete a key of the user that keyturn does not hold: a key whose secret never arrived, or an idle key
    in the slot that a rotation needs.

    :param last_four: the key's last four characters.
    :raises NotFound: if the user has no such key.
    :raises RotationHalted: if keyturn holds the key, or it is not idle for certain.
    """
    context.require_open()
    record, key_signer = record_store.pending_record(context, name), KeySigner(context, name, code)
    key = record.old if record is not None else context.key(vault_keys.entry_of(context.read(), name))
    message = None if record is not None else _forget_unknown_key(key_signer, key, last_four)
    if message is None:
        user = record.user if record is not None else key_signer.user_of(key)
        with context.log_failure(name, "rotate"), record_store.user_lock(context, user):
            message = _delete_of_user(key_signer, user, key, last_four)
    context.log_success(name, "rotate", message)
    return message


def _delete_of_user(key_signer: KeySigner, user: str, key: Credentials, last_four: str) -> str:
    """Delete the key, now that the lock is held, and return what was done.

    :param key: signs the calls if no rotation is pending.
    """
    context, record = key_signer.context, record_store.record_of_user(key_signer.context, user)
    if record is not None and record.step.is_last:
        record = None
    keys = (key,) if record is None else record.signers(context.clock())
    listed = key_signer.list_keys(keys, user_name(user))
    if record is None and (message := _forget_deleted_key(context, last_four, listed)):
        return message
    target = _find_key(key_signer.profile, listed, last_four)
    _require_not_in_vault(context, record, target)
    if record is not None:
        _require_orphan(key_signer, record, target)
    else:
        _require_past_grace(context, target, listed.get(key.access_key_id))
        _require_idle(key_signer, keys, target)
    if target.status == "Active":
        key_signer.deactivate_if_allowed(keys, user_name(user), target.key_id)
    try:
        key_signer.delete(keys, user_name(user), target.key_id)
    except KeyturnError as error:
        error.hint = (
            f"{masked_key_id(target.key_id)} may be deactivated, but is not deleted. ",
            *error.hint_parts,
        )
        raise
    vault_keys.forget_previous_key(context, target.key_id)
    if record is not None and record.step is Step.INTENT:
        StepActions(context, record, key_signer).give_up()
    return f"deleted {masked_key_id(target.key_id)}, which keyturn did not hold"


def _forget_deleted_key(context: Context, last_four: str, listed: Mapping[str, ListedKey]) -> str | None:
    """Remove a `previous` key that AWS does not list any more from the vault. Return what was done, or None.

    :param last_four: the key's last four characters.
    """
    for previous in vault_keys.previous_keys(context).values():
        key_id = previous.access_key_id
        if key_id[-4:] == last_four and key_id not in listed:
            vault_keys.forget_previous_key(context, key_id)
            return f"{masked_key_id(key_id)} is deleted at AWS; removed it from the vault"
    return None


def _forget_unknown_key(key_signer: KeySigner, key: Credentials, last_four: str) -> str | None:
    """Remove a `previous` key from the vault if AWS knows neither it nor `key`, which is in use. Return what
    was done, or None."""
    context = key_signer.context
    entry = vault_keys.entry_of(context.read(), key_signer.profile)
    previous = vault_keys.previous_keys(context).get(entry)
    if previous is None or previous.access_key_id[-4:] != last_four:
        return None
    if key_signer.is_known(key) or key_signer.is_known(previous):
        return None
    vault_keys.forget_previous_key(context, previous.access_key_id)
    return f"AWS does not accept {masked_key_id(previous.access_key_id)}; removed it from the vault"


def _find_key(name: str, listed: dict[str, ListedKey], last_four: str) -> ListedKey:
    matches = [key for key in listed.values() if key.key_id[-4:] == last_four]
    if len(last_four) != 4 or not matches:
        raise NotFound(
            f"Access key of {name} not found",
            f"the user has no key that ends in {last_four}",
            Remedy("rotate", name, "--status"),
        )
    if len(matches) > 1:
        raise RotationHalted(
            f"Could not delete a key of {name}",
            "both keys end in these characters",
            "Delete the unused key at AWS",
        )
    return matches[0]


def _require_not_in_vault(context: Context, record: Record | None, target: ListedKey) -> None:
    what = f"Could not delete {masked_key_id(target.key_id)}"
    entries = [
        entry
        for entry, key in vault_keys.keys_in_vault(context).items()
        if key.access_key_id == target.key_id
    ]
    if entries:
        raise RotationHalted(
            what, f"the vault holds it, for {', '.join(entries)}", "Rotate it, or release it first"
        )
    if record is not None and target.key_id in record.keys:
        finish, undo = (Remedy("rotate", record.profile, flag) for flag in ("--finish", "--undo"))
        raise RotationHalted(
            what,
            "it belongs to the pending rotation",
            ("To delete the old key: ", finish, "; to undo: ", undo),
        )


def _require_orphan(key_signer: KeySigner, record: Record, target: ListedKey) -> None:
    """Require that the key comes from the pending rotation. A key that another process created at the same
    moment has been used, or will be."""
    target_id = masked_key_id(target.key_id)
    if target.key_id not in {key.key_id for key in orphans(record, key_signer.observe(record))}:
        raise rotation_halted(
            record,
            f"{target_id} existed before the pending rotation",
            ("Finish that first: ", Remedy("rotate", record.profile, "--status")),
        )
    use = key_signer.last_use(record.signers(key_signer.context.clock()), target.key_id)
    if use.at is not None:
        raise rotation_halted(
            record,
            f"{target_id} was used ({iso(use.at)}), so it is not the key whose secret was lost",
            "Find out who created it; if it is not needed, delete it at AWS",
        )


def _require_past_grace(context: Context, target: ListedKey, current: ListedKey | None) -> None:
    """Require that the grace period of a key that the vault keeps from a rotation without a record has ended.
    It is counted from the first time that keyturn saw the key inactive; for an active one, from the creation
    of the key in use.

    :param current: the key in use.
    """
    previous_ids = {key.access_key_id for key in vault_keys.previous_keys(context).values()}
    if target.key_id not in previous_ids:
        return
    if target.status != "Active":
        start = vault_keys.first_seen_inactive(context, target.key_id)
        why = f"it was first seen inactive at {iso(start)}"
    elif current is not None:
        start, why = current.created, f"{masked_key_id(current.key_id)} replaced it"
    else:
        return
    left = start + GRACE_PERIOD - context.clock()
    if left > timedelta(0):
        raise RotationHalted(
            f"Could not delete {masked_key_id(target.key_id)}",
            f"{why}, and its grace period ends in {span(left)}",
            "Try again then",
        )


def _require_idle(key_signer: KeySigner, keys: tuple[Credentials, ...], target: ListedKey) -> None:
    if target.status == "Active":
        use: LastUse | None = key_signer.last_use(keys, target.key_id)
    else:
        use = key_signer.reported_use(keys, target.key_id)
    why = recent_use_reason(target, use, key_signer.context.clock())
    if why:
        raise RotationHalted(f"Could not delete {masked_key_id(target.key_id)}", why, idle_hint(target))
