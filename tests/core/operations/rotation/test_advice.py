"""The commands that a rotation advises after its keys were changed at AWS: each changes something,
and following them comes to an end, for every status of the two keys at every step."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from keyturn.model.errors import KeyturnError, Parts, Remedy
from keyturn.model.text import masked_key_id
from keyturn.operations.rotation import record_store
from keyturn.operations.rotation.drift import find_drift
from keyturn.operations.rotation.progress import Progress
from keyturn.operations.rotation.record import Record, Step
from keyturn.operations.rotation.state_machine import NextStep, ObservedKeys, next_step
from tests.core.operations.rotation.records import (
    HOLDS_NEW,
    HOLDS_OLD,
    MICROSECOND,
    NEW,
    OLD,
    OPEN,
    SECOND,
    STATUSES,
    observed,
    record_at,
)
from tests.core.operations.rotation.rotation_home import PROFILE, Home
from tests.core.operations.rotation.rotation_states import run_until, statuses
from tests.support.campaign import campaign


@dataclass(frozen=True)
class Advice:
    """A command of a hint, and the key that the user must reactivate at AWS before it, if any."""

    flag: str
    reactivate: frozenset[str] = frozenset()


def advice_in(parts: Parts, key_ids: Sequence[str]) -> list[Advice]:
    """Return the commands of a hint, in their order."""
    found, condition = [], ""
    for part in parts:
        if isinstance(part, Remedy):
            named = frozenset(key_id for key_id in key_ids if masked_key_id(key_id) in condition)
            is_conditional = re.search(
                r"eactivate .* (at AWS|in the console|), then|eactivate .*, then", condition
            )
            found.append(Advice(part.flag, named if is_conditional else frozenset()))
        else:
            condition = re.split(r"[;.] ", part)[-1] if part != "run: " else condition
    return [advice for advice in found if advice.flag in ("--resume", "--undo")]


# -- the drift of a record -----------------------------------------------------------------------------------


def situations() -> Iterator[tuple[Record, ObservedKeys]]:
    """Yield every step, direction and age of a record with every pair of statuses."""
    for step, is_undoing, age, old, new in itertools.product(
        OPEN, (False, True), (120 * SECOND, 120 * SECOND + MICROSECOND), STATUSES, STATUSES
    ):
        in_vault = HOLDS_NEW if step.is_at_least(Step.STORED) else HOLDS_OLD
        record = record_at(step, age=age, is_undoing=is_undoing)
        yield record, observed(old, new, in_vault=in_vault)


def is_stuck(record: Record, keys: ObservedKeys) -> bool:
    """Return True if the next step stops the rotation for its keys."""
    step = next_step(record, keys)
    is_deleted = step is NextStep.NEW_DELETED and keys.status(record.old) != "Active"
    return is_deleted or step in (NextStep.NEW_INACTIVE, NextStep.KEYS_LOST, NextStep.OLD_UNUSABLE)


def reactivated(keys: ObservedKeys, key_ids: frozenset[str]) -> ObservedKeys:
    """Return the observation after the user reactivated keys in the console."""
    listed = {
        key_id: replace(key, status="Active") if key_id in key_ids else key
        for key_id, key in keys.listed.items()
    }
    return replace(keys, listed=listed)


def test_drift_advises_only_commands_that_change_something() -> None:
    for record, keys in situations():
        drift = find_drift(record, keys)
        for advice in advice_in(drift.hint, (OLD, NEW)) if drift is not None else ():
            assert advice.reactivate <= keys.listed.keys(), "a deleted key cannot be reactivated"
            then = reactivated(keys, advice.reactivate)
            turned = replace(record, is_undoing=advice.flag == "--undo")
            assert not is_stuck(turned, then), (record, keys, str(drift))


def test_a_rotation_that_stops_for_its_keys_says_why_and_how_it_ends() -> None:
    for record, keys in situations():
        if is_stuck(record, keys):
            drift = find_drift(record, keys)
            assert drift is not None, (record, keys)
            is_lost = next_step(record, keys) is NextStep.KEYS_LOST
            assert bool(advice_in(drift.hint, (OLD, NEW))) is not is_lost
            assert ("out of the vault's folder to end the rotation" in str(drift)) is is_lost


def test_a_listed_key_that_the_record_uses_and_that_is_inactive_is_named_first() -> None:
    for record, keys in situations():
        if keys.status(record.new) == "Inactive" and not record.is_undoing:
            drift = find_drift(record, keys)
            assert drift is not None
            assert drift.why.startswith("AKIA…9ZLM is inactive at AWS, changed outside keyturn")


# -- a rotation whose advice is followed ---------------------------------------------------------------------


def run_command(home: Home, flag: str) -> Progress | KeyturnError:
    """Return the last progress of `keyturn rotate FLAG`, or its error."""
    rotation = home.service.rotation
    first = rotation.undo if flag == "--undo" else rotation.advance
    try:
        *_, last = rotation.run_to_end(first(PROFILE), lambda: rotation.advance(PROFILE), home.time.sleep)
    except KeyturnError as error:
        return error
    return last


def change_in_console(home: Home, key_id: str, status: str | None) -> None:
    """Give a key another status, or delete it, as another user does."""
    for key in [key for key in home.user.keys if key.key_id == key_id]:
        if status is None:
            home.state.delete_key(home.user, key)
        else:
            home.state.set_status(key, status)


def state_of(home: Home) -> object:
    """Return everything that a command can change."""
    record = record_store.pending_record(home.service.context, PROFILE)
    way = (record.step, record.is_undoing, record.is_reactivated) if record is not None else None
    return way, home.service.context.key(PROFILE).access_key_id, tuple(sorted(statuses(home).items()))


def follow(home: Home, key_ids: tuple[str, str], flag: str, choice: int) -> None:
    """Follow the advice from a first command on, until the rotation is finished or no key is left."""
    seen = []
    while True:
        state = (state_of(home), flag)
        assert state not in seen, f"{flag} is advised again and changed nothing: {state}"
        seen.append(state)
        result = run_command(home, flag)
        if isinstance(result, Progress):
            if result.is_finished:
                return
            assert (result.step, result.is_halted) == (Step.DEACTIVATED, True)
            assert statuses(home) == dict(zip(key_ids, ("Inactive", "Active"), strict=True))
            return
        options = advice_in(result.hint_parts, key_ids)
        usable = [each for each in options if not each.reactivate or each.reactivate & statuses(home).keys()]
        if not usable:
            assert not statuses(home), result.line()
            assert "to end the rotation" in result.hint
            return
        advice = usable[min(choice, len(usable) - 1)]
        for key_id in sorted(advice.reactivate & statuses(home).keys())[:1]:
            change_in_console(home, key_id, "Active")
        flag = advice.flag


@pytest.mark.parametrize("choice", [0, *campaign(1)])
@pytest.mark.parametrize("seconds", [0, 300])
@pytest.mark.parametrize("step", OPEN)
def test_following_the_advice_ends_with_a_key_that_works(
    tmp_path: Path, step: Step, seconds: int, choice: int
) -> None:
    for number, (old, new, flag) in enumerate(
        itertools.product(("Active", "Inactive", None), ("Active", "Inactive", None), ("--resume", "--undo"))
    ):
        (tmp_path / str(number)).mkdir()
        home = Home(tmp_path / str(number))
        progress = run_until(home, step)
        key_ids = (progress.old_id, progress.new_id or "")
        home.time.sleep(seconds)
        for key_id, status in zip(key_ids, (old, new), strict=True):
            change_in_console(home, key_id, status)
        follow(home, key_ids, flag, choice)
        used = home.service.context.key(PROFILE).access_key_id
        assert statuses(home).get(used) == "Active" or not statuses(home)
        assert set(statuses(home)) <= set(home.keys_on_disk()), "no secret of a key at AWS is lost"
