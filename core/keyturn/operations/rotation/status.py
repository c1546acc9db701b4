"""Status of a user's access keys: the keys at AWS, the keys that keyturn holds, and the profiles that use
them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from keyturn.aws.api import LastUse, ListedKey
from keyturn.model.errors import KeyturnError
from keyturn.model.json_codec import to_table
from keyturn.model.profile import Credentials
from keyturn.model.text import iso, span
from keyturn.operations.context import Context, key_entry
from keyturn.operations.operation import operation
from keyturn.operations.rotation import record_store
from keyturn.operations.rotation.drift import find_drift
from keyturn.operations.rotation.observe import (
    entry_of,
    fallback_note,
    identity_of,
    keys_in_vault,
    list_keys,
    pending_record,
    signers,
)
from keyturn.operations.rotation.progress import progress_of
from keyturn.operations.rotation.record import Step
from keyturn.operations.rotation.runner import observe
from keyturn.operations.rotation.signer import KeySigner
from keyturn.operations.rotation.state_machine import ObservedKeys, orphans
from keyturn.profiles.status import source_of


@operation("rotate-status")
def status(context: Context, name: str, code: str | None = None) -> dict[str, Any]:
    """Return the object that `rotate --status --json` prints: `user`, `keys` at AWS and here, `rotation` if
    one is pending, `used_by`.

    Each key has `key_id, status, created, age_days, last_used, last_used_by, known` (true if AWS reported the
    last use), `held` (`current`, `previous`, `journal` or null), and `busy`: the reason why it may still be
    in use, or null.

    :raises NotFound: if there is no such profile.
    :raises NeedsMfa: if AWS lists the keys only with an MFA code.
    :raises RotationHalted: if AWS accepts neither key of a pending rotation.
    """
    context.require_open()
    record_store.sync_index(context)
    record, key_signer = pending_record(context, name), KeySigner(context, name, code)
    observed: ObservedKeys | None = None
    if record is not None:
        keys, user, observed = (
            signers(record, context.clock()),
            record.user,
            observe(context, record, key_signer),
        )
        listed = observed.listed
    else:
        keys = (context.key(entry_of(context.read(), name)),)
        user = identity_of(key_signer, keys[0], name).arn
        listed = list_keys(key_signer, user.rpartition("/")[2], keys)
    holders = _holders(context)
    if record is not None:
        for key in signers(record, context.clock()):
            holders.setdefault(key.access_key_id, "journal")
    now = context.clock()
    table: list[dict[str, Any]] = []
    for listed_key in listed.values():
        use = reported_use(key_signer, keys, listed_key.key_id)
        table.append(
            {
                "key_id": listed_key.key_id, "status": listed_key.status, "created": iso(listed_key.created),
                "age_days": max(0, (now - listed_key.created).days), "last_used": iso(use.at) if use else None,
                "last_used_by": ", ".join(part for part in (use.service, use.region) if part) or None if use else None,
                "known": use is not None, "held": holders.get(listed_key.key_id), "busy": recent_use_reason(listed_key, use, now) or None,
            }
        )  # fmt: skip
    rotation = None
    if record is not None and observed is not None:
        orphan_ids = (
            tuple(key.key_id for key in orphans(record, observed)) if record.step is Step.INTENT else ()
        )
        drift = str(find_drift(record, observed) or "")
        rotation = to_table(
            progress_of(record, orphans=orphan_ids, note=fallback_note(context, record), drift=drift)
        )
    own_ids = {key.access_key_id for key in keys}
    missing = [key_id for key_id in own_ids if key_id not in listed]
    return {
        "profile": name,
        "user": user,
        "keys": table,
        "gone": missing,
        "rotation": rotation,
        "used_by": used_by(context, own_ids),
    }


def used_by(context: Context, key_ids: set[str]) -> list[str]:
    """Return the profiles whose sessions come from one of these keys."""
    entries = {name for name, key in keys_in_vault(context).items() if key.access_key_id in key_ids}
    inventory = context.read()
    return [
        name
        for name, profile in inventory.definitions.items()
        if profile.key in entries
        or source_of(profile, inventory.natives, inventory.definitions)[0] in entries
    ]


def _holders(context: Context) -> dict[str, str]:
    """Return where the vault holds each key id: `current` or `previous`."""
    holders: dict[str, str] = {}
    for name, entry in context.vault.keys().items():
        previous = entry.get("previous")
        if name.startswith(key_entry("")) and isinstance(previous, dict):
            holders.setdefault(str(previous.get("key_id")), "previous")
    for key in keys_in_vault(context).values():
        holders[key.access_key_id] = "current"
    return holders


#: AWS reports the last use up to hours late, so an active key is only idle for certain after this time.
IDLE_TIME = timedelta(days=30)


def use_of(key_signer: KeySigner, keys: Sequence[Credentials], key_id: str) -> LastUse:
    """Return the last use of a key, requested with the first of `keys` that AWS knows.

    :raises AwsError: if AWS does not report it.
    """
    return key_signer.call(keys, lambda aws, signer: aws.access_key_last_used(signer, key_id))


def reported_use(key_signer: KeySigner, keys: Sequence[Credentials], key_id: str) -> LastUse | None:
    """Return the last use of a key like :func:`use_of`, or None if AWS does not report it."""
    try:
        return use_of(key_signer, keys, key_id)
    except KeyturnError:
        return None


def last_use_text(use: LastUse, now: datetime) -> str:
    """Return the last use as text, like `2h ago (s3, eu-west-1)`."""
    where = ", ".join(part for part in (use.service, use.region) if part)
    return f"{span(now - (use.at or now))} ago" + (f" ({where})" if where else "")


def recent_use_reason(key: ListedKey, use: LastUse | None, now: datetime) -> str:
    """Return the reason why a key may still be in use, as a clause, or an empty string if it is idle for
    certain."""
    if key.status != "Active":
        return ""
    if use is None:
        return "it is active, and AWS does not report its last use"
    idle = now - (use.at or key.created)
    if idle >= IDLE_TIME:
        return ""
    if use.at is not None:
        return f"it is active, and was used {last_use_text(use, now)}"
    return f"it is active, was created {span(idle)} ago, and may not have been used yet"


def key_text(key: ListedKey, use: LastUse | None, now: datetime) -> str:
    """Return a key as text, like `active, 94 days old, used 2h ago (s3, eu-west-1)`."""
    use_text = (
        "last use unknown" if use is None else f"used {last_use_text(use, now)}" if use.at else "never used"
    )
    return f"{key.status.lower()}, {max(0, (now - key.created).days)} days old, {use_text}"
