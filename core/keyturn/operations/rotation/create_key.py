"""Start a rotation: check the preconditions, create the new key, and record it immediately."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import NoReturn

from keyturn.aws.api import Aws, CreatedKey, ListedKey
from keyturn.model.errors import (
    AwsError,
    AwsRefused,
    FileChanged,
    Hint,
    KeyturnError,
    Remedy,
    RotationHalted,
    Unreachable,
    WrongMfaCode,
)
from keyturn.model.profile import Credentials, Delivery
from keyturn.model.text import masked_key_id
from keyturn.operations import write_check
from keyturn.operations.context import Context
from keyturn.operations.operation import operation
from keyturn.operations.rotation import record_store, vault_keys
from keyturn.operations.rotation.key_signer import UNKNOWN_KEY_CODES, KeySigner
from keyturn.operations.rotation.key_status import idle_hint, key_text, recent_use_reason
from keyturn.operations.rotation.progress import Progress, progress_of, rotation_halted
from keyturn.operations.rotation.record import Record, Step
from keyturn.profiles.inventory import Inventory

#: A record takes a few hundred bytes. A disk with less free space than this is nearly full.
MIN_FREE_BYTES = 1 << 20
#: Errors of CreateAccessKey after which no new key exists for certain. After any other error that is unknown.
REJECTION_CODES = UNKNOWN_KEY_CODES | {
    "AccessDenied", "LimitExceeded", "NoSuchEntity", "ValidationError", "SignatureDoesNotMatch",
    "ExpiredToken", "Throttling", "ThrottlingException", "TooManyRequestsException", "RequestExpired",
    "OptInRequired", "IncompleteSignature", "MissingAuthenticationToken", "InvalidAction",
}  # fmt: skip
#: Number of attempts to delete a key that could not be stored, and seconds between them.
DELETE_TRIES, DELETE_PAUSE = 11, 2.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@operation("rotate-begin")
def start(context: Context, name: str, code: str | None = None) -> Progress:
    """Check all preconditions, and create a new key for the IAM user of a profile.

    :raises NotFound: if there is no such profile.
    :raises NeedsMfa: if a policy requires an MFA code. Nothing has changed.
    :raises RotationHalted: if a rotation is pending, or both access key slots are used.
    :raises KeyturnError: if another precondition fails. Nothing has changed.
    """
    context.require_open()
    inventory = context.read()
    is_in_file = any(item.delivery is Delivery.CREDENTIALS_FILE for item in inventory.definitions.values())
    files = [context.paths.aws_credentials] if is_in_file else []
    write_check.require_writable(context, f"Could not rotate {name}", files)
    entry = vault_keys.entry_of(inventory, name)
    _require_no_pending_rotation(record_store.pending_record(context, name), name)
    key = context.key(entry)
    _require_no_key_copies(inventory, key, name)
    key_signer = KeySigner(context, name, code)
    user = key_signer.user_of(key)
    with context.log_failure(name, "rotate"), record_store.user_lock(context, user):
        _require_no_pending_rotation(record_store.record_of_user(context, user), name)
        record = Record(
            nonce=secrets.token_hex(8),
            profile=name,
            entries=(),
            user=user,
            old=key,
            step=Step.INTENT,
            started=context.clock(),
        )
        try:
            listed = key_signer.list_keys((key,), record.user_name)
        except AwsRefused as refusal:
            raise _with_permission_hint(refusal, name, "iam:ListAccessKeys") from None
        _require_free_slot(context, record, listed, key_signer)
        _require_disk_space(context, record)
        with context.state_lock():
            entries = _reread_entries(context, name, key)
            record = replace(record, initial_key_ids=tuple(listed), entries=entries)
            record_store.start(context, record)
        return _create(context, record, key_signer)


def _reread_entries(context: Context, name: str, key: Credentials) -> tuple[str, ...]:
    """Return the vault entries of the key, read again, because a release may have changed them during the AWS
    calls.

    :raises FileChanged: if the profile has another key now, or none.
    """
    try:
        is_same = context.key(vault_keys.entry_of(context.read(), name)).access_key_id == key.access_key_id
    except KeyturnError:
        is_same = False
    if not is_same:
        raise FileChanged(
            f"Rotation of {name} stopped", "its key was changed or released in between", Remedy("show", name)
        )
    return tuple(
        entry
        for entry, stored_key in vault_keys.keys_in_vault(context).items()
        if stored_key.access_key_id == key.access_key_id
    )


def _require_no_pending_rotation(record: Record | None, name: str) -> None:
    if record is None or record.step.is_last:
        return
    raise RotationHalted(
        f"Rotation of {name} is pending", f"step {record.step}", progress_of(record).summary_parts()
    )


def _require_no_key_copies(inventory: Inventory, key: Credentials, name: str) -> None:
    """Require that no shared file holds a copy of the key, because clients that use the copy fail once the
    key is deactivated.

    :raises KeyturnError: if there is a copy.
    """
    copies = vault_keys.copies_of(inventory, key)
    if copies:
        raise KeyturnError(
            f"Could not rotate {name}",
            f"the same key is a plaintext key in the shared files, for {', '.join(copies)}, "
            "and would stop working there",
            ("Adopt it first: ", Remedy("adopt", copies[0])),
        )


def _with_permission_hint(refusal: AwsRefused, name: str, permission: str) -> AwsRefused:
    """Add the missing permission to the hint of an `AccessDenied` error."""
    if refusal.code == "AccessDenied" and not isinstance(refusal, WrongMfaCode):
        refusal.hint = (
            f"{permission} is not allowed for the user. To print the required IAM policy: ",
            Remedy("rotate", name, "--policy"),
        )
    return refusal


def _require_free_slot(
    context: Context, record: Record, listed: dict[str, ListedKey], key_signer: KeySigner
) -> None:
    """Require a free access key slot at AWS.

    :raises RotationHalted: if both slots are used. The error describes both keys, and names the command that
        deletes an idle one.
    """
    others = [key for key in listed.values() if key.key_id != record.old.access_key_id]
    if not others:
        return
    now, name, other = context.clock(), record.profile, others[0]
    other_id = masked_key_id(other.key_id)
    uses = {key_id: key_signer.reported_use((record.old,), key_id) for key_id in listed}
    key_texts = "; ".join(
        f"{masked_key_id(key.key_id)} ({key_text(key, uses[key.key_id], now)})" for key in listed.values()
    )
    entries_by_id = {
        key.access_key_id: entry_name for entry_name, key in vault_keys.keys_in_vault(context).items()
    }
    why = recent_use_reason(other, uses[other.key_id], now)
    if other.key_id in entries_by_id:
        hint: Hint = (
            "keyturn manages both. Release one, then delete it at AWS: ",
            Remedy("release", entries_by_id[other.key_id]),
        )
    elif why:
        hint = f"{other_id} may be in use: {why}. {idle_hint(other)}"
    else:
        hint = (f"{other_id} is idle; to delete it: ", Remedy("rotate", name, f"--drop {other.key_id[-4:]}"))
    raise rotation_halted(record, f"both access key slots of the user are in use: {key_texts}", hint)


def _require_disk_space(context: Context, record: Record) -> None:
    """Require enough disk space to store a new key.

    :raises KeyturnError: if the disk is nearly full.
    """
    free = os.statvfs(context.vault.folder)
    if free.f_bavail * free.f_frsize < MIN_FREE_BYTES:
        raise KeyturnError(
            f"Rotation of {record.profile} stopped",
            f"less than 1 MiB is left for {context.vault.folder}, and a new key must be stored immediately",
            "Free disk space, then try again",
        )


@dataclass
class NewKeyRecorder:
    """Records the new key in the thread that received it."""

    context: Context
    record: Record
    saved: list[Record] = field(default_factory=list)
    error: list[Exception] = field(default_factory=list)

    def save(self, new_key: CreatedKey) -> None:
        record = replace(self.record, new=new_key.key, created=new_key.created)
        record = record.with_step(Step.CREATED, self.context.clock())
        try:
            record_store.write_record(self.context, record, Step.INTENT)
        except Exception as error:  # noqa: BLE001 - whatever it is, the key must be deleted at AWS again
            self.error.append(error)
            # The caller may have timed out. Then this line is the only report.
            self.context.log_success(
                record.profile, "rotate", f"{new_key.key.access_key_id} was created but could not be stored"
            )
        else:
            self.saved.append(record)


@contextmanager
def block_signals() -> Iterator[None]:
    """Block the signals that end a process, in this thread and in threads that it starts."""
    previous_mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous_mask)


def _create(context: Context, record: Record, key_signer: KeySigner) -> Progress:
    recorder = NewKeyRecorder(context, record)

    def call(aws: Aws, signer: Credentials) -> CreatedKey:
        with context.unsaved_secret_lock, block_signals():
            return aws.create_access_key(signer, record.user_name, recorder.save)

    try:
        new_key = key_signer.call((record.old,), call)
    except AwsError as error:
        return _handle_create_error(context, record, error)
    except KeyturnError:
        # No key was requested: an MFA code is needed, or the signing key could not be read.
        record_store.save_step(context, record.with_step(Step.UNDONE, context.clock()), Step.INTENT)
        raise
    if recorder.error:
        _delete_unsaved_key(context, record, new_key, key_signer, recorder.error[0])
    created = recorder.saved[0]
    record_store.update_index(context, created)
    context.log_success(record.profile, "rotate", f"created {created.masked_new_id}")
    return progress_of(created, note=record_store.fallback_note(context, record))


def _handle_create_error(context: Context, record: Record, error: AwsError) -> Progress:
    """Return the progress after a CreateAccessKey call that returned no key.

    :raises AwsError: if no key exists for certain. The rotation is ended.
    """
    # The connection may break after the request was sent. A TLS error does not tell if it did before.
    is_unknown = (
        error.code not in REJECTION_CODES if isinstance(error, AwsRefused) else isinstance(error, Unreachable)
    )
    if is_unknown:
        return progress_of(record, wait=5.0, note=f"{error.what}: {error.why}")
    record_store.save_step(context, record.with_step(Step.UNDONE, context.clock()), Step.INTENT)
    if isinstance(error, AwsRefused) and error.code == "LimitExceeded":
        raise rotation_halted(
            record,
            "both access key slots of the user are in use: another key was created in between",
            Remedy("rotate", record.profile, "--status"),
        ) from None
    if isinstance(error, AwsRefused):
        raise _with_permission_hint(error, record.profile, "iam:CreateAccessKey") from None
    raise error


def _delete_unsaved_key(
    context: Context, record: Record, new_key: CreatedKey, key_signer: KeySigner, cause: Exception
) -> NoReturn:
    """Delete a new key that could not be stored and was never used.

    :raises KeyturnError: always: says what happened, and which keys exist.
    """
    what = f"Rotation of {record.profile} stopped"
    new, old = (masked_key_id(key.access_key_id) for key in (new_key.key, record.old))
    why = cause.why if isinstance(cause, KeyturnError) else type(cause).__name__
    try:
        _delete_with_retries(context, record, new_key, key_signer)
    except KeyturnError as error:
        raise RotationHalted(
            what,
            f"the new key {new_key.key.access_key_id} could neither be stored ({why}) "
            f"nor deleted ({error.why})",
            f"{old} works and is in use. Delete {new} at AWS; its secret is lost",
        ) from None
    # Without this step the intent stays, and the next resume finds no new key.
    with contextlib.suppress(KeyturnError, OSError):
        record_store.save_step(context, record.with_step(Step.UNDONE, context.clock()), Step.INTENT)
    raise KeyturnError(
        what,
        f"the new key could not be stored ({why}), so it was deleted at AWS",
        f"{old} works and is in use, as before. Fix the disk, then try again",
    ) from None


def _delete_with_retries(
    context: Context, record: Record, new_key: CreatedKey, key_signer: KeySigner
) -> None:
    """Delete a key that was just created. IAM may not know it everywhere yet, and its secret is stored
    nowhere.

    :raises KeyturnError: if the last attempt fails.
    """
    deadline = time.monotonic() + DELETE_TRIES * DELETE_PAUSE
    for tries_left in reversed(range(DELETE_TRIES)):
        try:
            key_signer.delete((record.old, new_key.key), record.user_name, new_key.key.access_key_id)
        except AwsError as error:
            is_denied = isinstance(error, AwsRefused) and error.code == "AccessDenied"
            if is_denied or not tries_left or time.monotonic() > deadline:
                raise
        else:
            return
        context.sleep(DELETE_PAUSE)
