"""Whether a key is used by nobody, as far as AWS tells, and how that is said."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from keyturn.acts.rotation.signing import Signing
from keyturn.aws.ports import LastUse, ListedKey
from keyturn.errors import KeyturnError
from keyturn.model import Credentials
from keyturn.text import span

#: AWS tells of a key's use up to hours late, so an active key is idle for certain only after this long.
IDLE = timedelta(days=30)


def use_of(signing: Signing, keys: Sequence[Credentials], key_id: str) -> LastUse:
    """A key's last use, asked for with the first of `keys` that AWS knows.

    :raises AwsError: AWS does not tell.
    """
    return signing.by(keys, lambda aws, signer: aws.access_key_last_used(signer, key_id))


def told_use(signing: Signing, keys: Sequence[Credentials], key_id: str) -> LastUse | None:
    """The same; None where AWS does not tell."""
    try:
        return use_of(signing, keys, key_id)
    except KeyturnError:
        return None


def used(use: LastUse, now: datetime) -> str:
    """`2h ago (s3, eu-west-1)`."""
    where = ", ".join(each for each in (use.service, use.region) if each)
    return f"{span(now - (use.at or now))} ago" + (f" ({where})" if where else "")


def busy(key: ListedKey, use: LastUse | None, now: datetime) -> str:
    """Why a key may still be in use, as a clause; empty where it is idle for certain."""
    if key.status != "Active":
        return ""
    if use is None:
        return "it is active, and AWS does not tell when it was last used"
    idle = now - (use.at or key.created)
    if idle >= IDLE:
        return ""
    if use.at is not None:
        return f"it is active, and it was used {used(use, now)}"
    return f"it is active, and it was made {span(idle)} ago and may not have been used yet"


def described(key: ListedKey, use: LastUse | None, now: datetime) -> str:
    """`active, 94 days old, used 2h ago (s3, eu-west-1)`."""
    when = "use not known" if use is None else f"used {used(use, now)}" if use.at else "never used"
    return f"{key.status.lower()}, {max(0, (now - key.created).days)} days old, {when}"
