"""Status of a user's access keys: the keys at AWS, the keys that keyturn holds, and the profiles that use
them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from keyturn.aws.api import LastUse, ListedKey
from keyturn.model.json_codec import to_table
from keyturn.model.text import iso, span
from keyturn.operations.context import Context
from keyturn.operations.operation import operation
from keyturn.operations.rotation import record_store, vault_keys
from keyturn.operations.rotation.drift import find_drift
from keyturn.operations.rotation.key_signer import KeySigner
from keyturn.operations.rotation.progress import progress_of
from keyturn.operations.rotation.record import GRACE_PERIOD, Record, Step, user_name
from keyturn.operations.rotation.state_machine import ObservedKeys, orphans
from keyturn.profiles.status import source_of

#: AWS reports the last use up to hours late, so an active key is only idle for certain after this time.
IDLE_TIME = timedelta(days=30)


@operation("rotate-status")
def status(context: Context, name: str, code: str | None = None) -> dict[str, Any]:
    """Return the object that `rotate --status --json` prints: `user`, `keys` at AWS and here, `rotation` if
    one is pending, `used_by`.

    Each key has `key_id, status, created, age_days, last_used, last_used_by, known` (true if AWS reported the
    last use), `held` (`current`, `previous`, `journal` or null), and `busy`: the reason why something may
    still need it, or null.

    :raises NotFound: if there is no such profile.
    :raises NeedsMfa: if AWS lists the keys only with an MFA code.
    :raises RotationHalted: if AWS accepts neither key of a pending rotation.
    """
    context.require_open()
    record_store.sync_index(context)
    record, key_signer = record_store.pending_record(context, name), KeySigner(context, name, code)
    holders = dict.fromkeys(
        (key.access_key_id for key in vault_keys.previous_keys(context).values()), "previous"
    )
    holders |= dict.fromkeys(
        (key.access_key_id for key in vault_keys.keys_in_vault(context).values()), "current"
    )
    if record is not None:
        keys, user = record.signers(context.clock()), record.user
        observed = key_signer.observe(record)
        listed, rotation = observed.listed, _rotation_table(context, record, observed)
        holders = dict.fromkeys((key.access_key_id for key in keys), "journal") | holders
    else:
        keys, rotation = (context.key(vault_keys.entry_of(context.read(), name)),), None
        user = key_signer.user_of(keys[0])
        listed = key_signer.list_keys(keys, user_name(user))
    now = context.clock()
    own_ids = {key.access_key_id for key in keys}
    uses = {key_id: key_signer.reported_use(keys, key_id) for key_id in listed}
    return {
        "profile": name,
        "user": user,
        "keys": [_key_table(key, uses[key.key_id], holders.get(key.key_id), now) for key in listed.values()],
        "gone": [key_id for key_id in own_ids if key_id not in listed],
        "rotation": rotation,
        "used_by": _used_by(context, own_ids),
    }


def _key_table(key: ListedKey, use: LastUse | None, holder: str | None, now: datetime) -> dict[str, Any]:
    return {
        "key_id": key.key_id,
        "status": key.status,
        "created": iso(key.created),
        "age_days": max(0, (now - key.created).days),
        "last_used": iso(use.at) if use else None,
        "last_used_by": (use.where or None) if use else None,
        "known": use is not None,
        "held": holder,
        "busy": recent_use_reason(key, use, now) or None,
    }


def _rotation_table(context: Context, record: Record, observed: ObservedKeys) -> dict[str, Any]:
    orphan_ids = tuple(key.key_id for key in orphans(record, observed)) if record.step is Step.INTENT else ()
    return to_table(
        progress_of(
            record,
            orphans=orphan_ids,
            note=record_store.fallback_note(context, record),
            drift=str(find_drift(record, observed) or ""),
        )
    )


def _used_by(context: Context, key_ids: set[str]) -> list[str]:
    """Return the profiles whose sessions come from one of these keys."""
    entries = {
        name for name, key in vault_keys.keys_in_vault(context).items() if key.access_key_id in key_ids
    }
    inventory = context.read()
    return [
        name
        for name, profile in inventory.definitions.items()
        if profile.key in entries
        or source_of(profile, inventory.natives, inventory.definitions)[0] in entries
    ]


def last_use_text(use: LastUse, now: datetime) -> str:
    """Return the last use as text, like `2h ago (s3, eu-west-1)`."""
    return f"{span(now - (use.at or now))} ago" + (f" ({use.where})" if use.where else "")


def recent_use_reason(key: ListedKey, use: LastUse | None, now: datetime) -> str:
    """Return the reason why something may still need a key, as a clause, or an empty string if nothing does
    for certain.

    An inactive key that was used within the grace period was deactivated within it.
    """
    if key.status != "Active":
        if use is None or use.at is None or now - use.at >= GRACE_PERIOD:
            return ""
        return f"it was used {last_use_text(use, now)}, and deactivated after that"
    if use is None:
        return "it is active, and AWS does not report its last use"
    idle = now - (use.at or key.created)
    if idle >= IDLE_TIME:
        return ""
    if use.at is not None:
        return f"it is active, and was used {last_use_text(use, now)}"
    return f"it is active, was created {span(idle)} ago, and may not have been used yet"


def idle_hint(key: ListedKey) -> str:
    """Return how a key that something may still need can be deleted."""
    if key.status != "Active":
        return "Try again after its grace period, or reactivate it at AWS if something needs it"
    return "Find what uses it, deactivate it at AWS, and delete it once nothing needs it"


def key_text(key: ListedKey, use: LastUse | None, now: datetime) -> str:
    """Return a key as text, like `active, 94 days old, used 2h ago (s3, eu-west-1)`."""
    use_text = (
        "last use unknown" if use is None else f"used {last_use_text(use, now)}" if use.at else "never used"
    )
    return f"{key.status.lower()}, {max(0, (now - key.created).days)} days old, {use_text}"
