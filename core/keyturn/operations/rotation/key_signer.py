"""Call AWS about the access keys of one IAM user. The calls are signed with the user's own key or, if a
policy requires MFA, with an MFA session of the user."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from keyturn.aws.api import Aws, LastUse, ListedKey
from keyturn.aws.errors import EXPIRED_SESSION_CODES
from keyturn.model.errors import (
    THEN_RUN,
    AwsRefused,
    KeyturnError,
    NeedsInteraction,
    Parts,
    Remedy,
    RotationHalted,
)
from keyturn.model.profile import Credentials, Kind
from keyturn.model.text import masked_key_id
from keyturn.operations.context import Context
from keyturn.operations.credentials import session_cache
from keyturn.operations.rotation import record_store, vault_keys
from keyturn.operations.rotation.drift import KeyDrift
from keyturn.operations.rotation.progress import progress_of, rotation_halted
from keyturn.operations.rotation.record import Record
from keyturn.operations.rotation.state_machine import ObservedKeys
from keyturn.providers.base import FetchedSession
from keyturn.providers.refresher import Refresher

T = TypeVar("T")

#: Error codes of AWS for an access key that does not exist, is inactive, or is not known everywhere yet.
UNKNOWN_KEY_CODES = frozenset({"InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId"})


@dataclass
class KeySigner:
    """Signs calls about one IAM user, with the region and endpoints of one profile.

    Calls that take `keys` are signed with the first of them that AWS knows.

    :param code: an MFA code, used for the first call that a policy denies without MFA.
    """

    context: Context
    profile: str
    code: str | None = None
    _mfa_sessions: list[FetchedSession] = field(default_factory=list)

    def aws(self) -> Aws:
        """Return the profile's AWS client. Each call has a timeout of its own.

        :raises ChangeRefused: if only the caller names the endpoint, because its answers decide which key is
            kept.
        """
        self.context.require_known_host(
            f"Could not rotate {self.profile}", "its answers would decide which key is kept"
        )
        native = self.context.read().natives.get(self.profile)
        return self.context.aws(self.profile, native.region if native else None)

    def list_keys(self, keys: Sequence[Credentials], user_name: str) -> dict[str, ListedKey]:
        """Return the user's keys at AWS, by key id."""
        listed = self.call(keys, lambda aws, signer: aws.list_access_keys(signer, user_name))
        return {key.key_id: key for key in listed}

    def last_use(self, keys: Sequence[Credentials], key_id: str) -> LastUse:
        """Return the last use of a key.

        :raises AwsError: if AWS does not report it.
        """
        return self.call(keys, lambda aws, signer: aws.access_key_last_used(signer, key_id))

    def reported_use(self, keys: Sequence[Credentials], key_id: str) -> LastUse | None:
        """Return the last use of a key, or None if AWS does not report it."""
        try:
            return self.last_use(keys, key_id)
        except KeyturnError:
            return None

    def observe(self, record: Record) -> ObservedKeys:
        """Return the user's keys at AWS and the keys in the vault. Errors name the keys and the next command.

        :raises NeedsMfa: if AWS lists the keys only with an MFA code.
        :raises RotationHalted: if AWS accepts neither key any more.
        :raises AwsRefused: if AWS accepts neither key yet.
        """
        try:
            with summary_as_hint(record):
                return self._observe(record)
        except AwsRefused as error:
            if error.code not in UNKNOWN_KEY_CODES:
                raise
            if not record.is_propagating(self.context.clock()):
                raise no_working_key(self.context, record) from None
            error.hint = _propagation_hint(record)
            raise

    def _observe(self, record: Record) -> ObservedKeys:
        context = self.context
        listed = self.list_keys(record.signers(context.clock()), record.user_name)
        in_vault = {name: key.access_key_id for name, key in vault_keys.keys_in_vault(context).items()}
        definitions = context.read().definitions
        used_entries = frozenset(profile.key for profile in definitions.values() if profile.key)
        return ObservedKeys(listed, in_vault, used_entries, context.clock())

    def set_status(self, keys: Sequence[Credentials], user_name: str, key_id: str, status: str) -> None:
        """Activate or deactivate a key."""
        self.call(keys, lambda aws, signer: aws.set_access_key_status(signer, user_name, key_id, status))

    def deactivate_if_allowed(self, keys: Sequence[Credentials], user_name: str, key_id: str) -> None:
        """Deactivate a key before its deletion, unless that is not permitted or AWS does not know the key."""
        try:
            self.set_status(keys, user_name, key_id, "Inactive")
        except AwsRefused as error:
            if error.code not in ("AccessDenied", "NoSuchEntity"):
                raise

    def delete(self, keys: Sequence[Credentials], user_name: str, key_id: str) -> None:
        """Delete a key."""
        self.call(keys, lambda aws, signer: aws.delete_access_key(signer, user_name, key_id))

    def is_known(self, key: Credentials) -> bool:
        """Return True if AWS accepts a key."""
        try:
            self.aws().get_caller_identity(key)
        except AwsRefused as refusal:
            if refusal.code not in UNKNOWN_KEY_CODES:
                raise
            return False
        return True

    def user_of(self, key: Credentials) -> str:
        """Return the ARN of the IAM user that a key belongs to.

        :raises KeyturnError: if it is not an IAM user's, or AWS does not know the key any more.
        """
        what = f"Could not rotate {self.profile}"
        try:
            arn = self.aws().get_caller_identity(key).arn
        except AwsRefused as refusal:
            if refusal.code not in UNKNOWN_KEY_CODES:
                raise
            why = (
                f"AWS does not accept {masked_key_id(key.access_key_id)} any more: "
                "it is inactive or deleted, or was rotated elsewhere"
            )
            release, adopt = Remedy("release", self.profile), Remedy("adopt", self.profile)
            advice: Parts = ("To store the current key: ", release, ", correct the file, ", adopt)
            if any(
                entry.get("key_id") == key.access_key_id and "previous" in entry
                for entry in vault_keys.key_entries(self.context.vault.keys()).values()
            ):
                advice = (
                    "The vault holds the previous key. To return to it: ",
                    Remedy("rotate", self.profile, "--undo"),
                )
            raise KeyturnError(what, why, advice) from None
        if arn.endswith(":root"):
            raise KeyturnError(
                what,
                "it belongs to the root user",
                "Delete the root user's access keys in the console; nothing should use them",
            )
        if ":user/" not in arn:
            raise KeyturnError(
                what, f"{arn} is not an IAM user", "Only access keys of IAM users can be rotated"
            )
        return arn

    def call(self, keys: Sequence[Credentials], action: Callable[[Aws, Credentials], T]) -> T:
        """Call `action` with the first of `keys` that AWS knows, or with an MFA session if AWS denies the key
        alone.

        :raises NeedsMfa: if an MFA code is needed.
        :raises AwsRefused: if AWS knows none of the keys, or denies the action.
        """
        error: AwsRefused | None = None
        for key in keys:
            try:
                return self._call_signed(key, action)
            except AwsRefused as refusal:
                if refusal.code not in UNKNOWN_KEY_CODES:
                    raise
                error = error or refusal
        if error is None:
            raise ValueError("a call needs a key")
        raise error

    def _call_signed(self, key: Credentials, action: Callable[[Aws, Credentials], T]) -> T:
        try:
            return action(self.aws(), key)
        except AwsRefused as refusal:
            if refusal.code != "AccessDenied":
                raise
            session = self._mfa_session()
            if session is None:
                raise
        try:
            return action(self.aws(), session.issued.credentials)
        except AwsRefused as refusal:
            if refusal.code not in EXPIRED_SESSION_CODES:
                raise
            self._mfa_sessions.clear()
            refresher = session_cache.refresher(self.context, self.context.read())
            refresher.store.drop(session)
            session = self._fetch_mfa_session(refresher)
        return action(self.aws(), session.issued.credentials)

    def _mfa_session(self) -> FetchedSession | None:
        """Return an MFA session of the user, or None if the profile has no MFA device."""
        if not self._mfa_sessions:
            inventory = self.context.read()
            managed = inventory.definitions.get(self.profile)
            if managed is None or managed.kind is not Kind.IAM_KEY or managed.mfa_serial is None:
                return None
            return self._fetch_mfa_session(session_cache.refresher(self.context, inventory))
        return self._mfa_sessions[0]

    def _fetch_mfa_session(self, refresher: Refresher) -> FetchedSession:
        code, self.code = self.code, None
        fetched = refresher.fetch(self.profile, code, only_if_due=code is None)
        self._mfa_sessions.append(fetched)
        return fetched


@contextmanager
def summary_as_hint(record: Record, drift: KeyDrift | None = None) -> Iterator[None]:
    """Replace the hint of every error with the drift, or with the keys that exist and the next command."""
    try:
        yield
    except (NeedsInteraction, RotationHalted):
        raise
    except KeyturnError as error:
        error.hint = drift.parts() if drift else progress_of(record).summary_parts()
        raise


def no_working_key(context: Context, record: Record) -> RotationHalted:
    """Return the error for AWS accepting none of the keys that could sign."""
    keys = " nor ".join(masked_key_id(key_id) for key_id in record.keys)
    file = record_store.path_of(context, record)
    resume, undo = (Remedy("rotate", record.profile, flag) for flag in ("--resume", "--undo"))
    reactivate: Parts = (
        f"Reactivate {record.masked_old_id} or {record.masked_new_id} in the console, then ",
    )
    if not record.is_undoing:
        reactivate = (
            f"Reactivate {record.masked_new_id} in the console, then ", THEN_RUN, resume,
            f"; or reactivate {record.masked_old_id}, then ",
        )  # fmt: skip
    return rotation_halted(
        record,
        f"AWS accepts neither {keys}: the key in use was deleted or deactivated",
        (*reactivate, THEN_RUN, undo, f". If both are deleted, move {file} away to end the rotation"),
    )


def _propagation_hint(record: Record) -> Parts:
    """Return the hint for a key that AWS may not know yet, and that may as well be inactive or deleted."""
    resume, undo = (Remedy("rotate", record.profile, flag) for flag in ("--resume", "--undo"))
    new = f"AWS may not know {record.masked_new_id} everywhere yet, or it was deactivated or deleted there. "
    if record.is_undoing:
        return (f"{new}To continue the undo: ", undo)
    return (f"{new}To wait for it: ", resume, f"; to return to {record.masked_old_id}: ", undo)
