"""Rotation records and observations for table tests: two keys of one IAM user at one moment."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from keyturn.aws.api import ListedKey
from keyturn.model.profile import Credentials
from keyturn.model.secret import Secret
from keyturn.operations.rotation.record import Record, Step
from keyturn.operations.rotation.state_machine import ObservedKeys

NOW = datetime(2026, 3, 14, 14, 5, 10, tzinfo=UTC)
MICROSECOND, SECOND, HOUR = timedelta(microseconds=1), timedelta(seconds=1), timedelta(hours=1)
OLD, NEW = "AKIAEXAMPLE00004WQP", "AKIAEXAMPLE00009ZLM"
#: A key of the same user that the rotation has nothing to do with.
OTHER = "AKIAEXAMPLE000077AA"
OLD_KEY, NEW_KEY = (Credentials(key_id, Secret(f"secret of {key_id}")) for key_id in (OLD, NEW))
ENTRIES = ("ci", "ci-deploy")

#: The steps of a rotation that has a new key and is not finished.
OPEN = (Step.CREATED, Step.VERIFIED, Step.STORED, Step.DELIVERED, Step.DEACTIVATED)
FINISHED = (Step.DONE, Step.UNDONE)
#: `None`: AWS does not list the key.
STATUSES = ("Active", "Inactive", "Expired", None)

#: What the vault holds under each entry.
HOLDS_OLD: Mapping[str, str] = dict.fromkeys(ENTRIES, OLD)
HOLDS_NEW: Mapping[str, str] = dict.fromkeys(ENTRIES, NEW)
HOLDS_BOTH: Mapping[str, str] = {"ci": OLD, "ci-deploy": NEW}
HOLDS_NEITHER: Mapping[str, str] = {"ci": OTHER}


def record_at(
    step: Step, *, age: timedelta = HOUR, is_undoing: bool = False, is_reactivated: bool = False
) -> Record:
    """Return the record of a rotation at `step`.

    :param age: the time since the rotation began and its new key was created.
    """
    began = NOW - age
    way = (Step.INTENT, *OPEN, step)
    return Record(
        nonce="nonce",
        profile="ci",
        entries=ENTRIES,
        user="arn:aws:iam::444455556666:user/team/ci",
        old=OLD_KEY,
        step=step,
        started=began,
        new=None if step is Step.INTENT else NEW_KEY,
        created=None if step is Step.INTENT else began,
        initial_key_ids=(OLD,),
        is_undoing=is_undoing,
        is_reactivated=is_reactivated,
        step_times=dict.fromkeys(way[: way.index(step) + 1], began),
    )


def observed(
    old: str | None = "Active",
    new: str | None = "Active",
    *,
    in_vault: Mapping[str, str] = HOLDS_NEW,
    wanted: Collection[str] = ENTRIES,
    old_answers: bool = False,
    at: datetime = NOW,
) -> ObservedKeys:
    """Return an observation in which AWS lists the two keys with these statuses."""
    statuses = {OLD: old, NEW: new}
    listed = {
        key_id: ListedKey(key_id, status, NOW - HOUR)
        for key_id, status in statuses.items()
        if status is not None
    }
    return ObservedKeys(listed, in_vault, frozenset(wanted), at, is_old_accepted=old_answers)


def listing(observation: ObservedKeys, *keys: ListedKey) -> ObservedKeys:
    """Return the observation with further keys in AWS's list."""
    return replace(observation, listed={**observation.listed, **{key.key_id: key for key in keys}})
