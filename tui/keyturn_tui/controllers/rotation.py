"""One rotation as a conversation: act by act, with AWS's waits and a person's decisions in between."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from keyturn.model.errors import KeyturnError, RotationHalted
from keyturn.model.profile import Profile
from keyturn.model.text import safe
from keyturn.operations.rotation.client import PATIENCE
from keyturn.operations.rotation.progress import Progress
from keyturn.operations.rotation.record import Step
from keyturn_tui.actions import waiting_words
from keyturn_tui.controllers.profiles import Cancelled, ProfileController
from keyturn_tui.controllers.ui import Ui
from keyturn_tui.dialogs.base import told
from keyturn_tui.dialogs.confirm import ConfirmScreen, DeletionScreen
from keyturn_tui.rendering.key_deletion import KeyToDelete, lost_key, old_key, other_key
from keyturn_tui.rendering.rotation_steps import Phase, RotationView, stop_words
from keyturn_tui.state import AppState

T = TypeVar("T")
#: An act of rotations, once it knows whose: takes the MFA code.
RotationCall = Callable[[str | None], Progress]

#: The verb's ways in hints, as the keys of the dialog.
_KEYS = {
    "--resume": "Enter", "--undo": "u", "--finish": "D", "--drop": "D", "--status": "D",
}  # fmt: skip


class RotationController:
    """Holds where one rotation stands. It outlives its dialog where that is left while a step is in flight."""

    def __init__(self, desk: AppState, acts: ProfileController, front: Ui, profile: Profile) -> None:
        self._desk = desk
        self._acts = acts
        self._front = front
        self._name = profile.name
        self._stop = asyncio.Event()
        self._draw: Callable[[], None] | None = None
        self._goes_on = self._begins = False
        self._declined = ""
        self.stand = RotationView(profile, also=sharing(desk, profile))
        self.said = ("", "text")
        """What is to be said under the steps, and its role."""

    def watch(self, draw: Callable[[], None]) -> None:
        """A dialog shows it from now on.

        :param draw: called whenever something of it changes.
        """
        self._draw = draw

    def leave(self) -> None:
        """The dialog is closed; the message line says how it ends, if it has begun."""
        self._draw = None
        if not self._goes_on:
            self._tell()

    def go_on(self) -> None:
        """Begin, or go on where it stopped."""
        rotating = self._desk.keeper.rotating
        self._begins = not self.stand.has_begun
        self._start(self._through(rotating.on if self.stand.has_begun else rotating.begin))

    def go_back(self) -> None:
        """Back to the old key, once that is confirmed."""
        self._start(self._back())

    def delete(self) -> None:
        """Delete the key that the stand offers, once its last characters are typed."""
        self._begins = False
        self._start(self._delete())

    def stop(self) -> bool:
        """Begin no further act, and end a wait. False where nothing goes on, or that was said already."""
        if not self._goes_on or self._stop.is_set():
            return False
        self._stop.set()
        self._show(is_stopping=True)
        return True

    def _start(self, conversation: Coroutine[Any, Any, None]) -> None:
        if self._goes_on or self._name in self._desk.working:
            conversation.close()
            self.said = ("Something else is at work on this profile; try again in a moment.", "soon")
            self._show()
            return
        self._goes_on = True
        self._front.start(self._run(conversation))

    async def _run(self, conversation: Coroutine[Any, Any, None]) -> None:
        self._stop.clear()
        self.said = ("", "text")
        self._declined = "Stopped at the question; that step changed nothing."
        self._desk.begin(self._name)
        self._front.redraw()
        failure: Exception | None = None
        try:
            await conversation
        except Cancelled:
            self.said = (self._declined, "soon")
        except Exception as error:  # noqa: BLE001  # the boundary between a person's act and a fault of ours
            failure = error
        finally:
            self._desk.end(self._name)
            self._goes_on = False
        await self._front.look()
        if failure is not None:
            self._failed(failure)
        self._front.redraw()
        self._show(phase=Phase.REST, until=None, is_stopping=False)
        if self._draw is None:
            self._tell()

    async def _through(self, first: Callable[[str, str | None], Progress]) -> None:
        """Act by act until it is over, a person decides, or one says stop."""
        act, since = partial(first, self._name), self._desk.now()
        while True:
            before = self.stand.step
            progress = await self._step(act)
            self._seen(progress)
            if progress.is_over or progress.is_halted or self._stop.is_set():
                return
            if progress.step is not before:
                since = self._desk.now()
            if progress.wait:
                if self._desk.now() - since > timedelta(seconds=PATIENCE):
                    self.said = (f"{progress.note}. Go on later; nothing hurries.", "soon")
                    return
                if not await self._waited(progress):
                    return
            act = partial(self._desk.keeper.rotating.on, self._name)

    async def _waited(self, progress: Progress) -> bool:
        """Wait until AWS may be asked again. False if one says stop meanwhile."""
        self._show(phase=Phase.WAIT, until=self._desk.now() + timedelta(seconds=progress.wait))
        try:
            await asyncio.wait_for(self._stop.wait(), progress.wait)
        except TimeoutError:
            return True
        return False

    async def _back(self) -> None:
        stand = self.stand
        question = [
            f"Go back to {stand.old}?",
            "",
            f"It is switched on if it is off, proven to work, and becomes the vault's key again. Then {stand.new} is deleted at AWS.",
        ]
        screen = ConfirmScreen(self._desk, "Back to the old key", question, "go back", keep="Stay")
        if await self._front.ask_person(screen):
            self._show(is_turning=True, reached={})
            await self._through(self._desk.keeper.rotating.back)

    async def _delete(self) -> None:
        rotating, stand = self._desk.keeper.rotating, self.stand
        if stand.step is Step.DEACTIVATED:
            facts = await self._step(partial(rotating.ending, self._name))
            last_four = await self._confirmed(old_key(facts, stand.profile, self._desk.now()))
            self._seen(await self._step(lambda code: rotating.finish(self._name, last_four, code)))
            return
        if stand.orphans:
            doomed = lost_key(stand.orphans[0], stand.old)
        else:
            found = await self._step(partial(rotating.status, self._name))
            doomed = other_key(found, self._desk.now())
        last_four = await self._confirmed(doomed)
        done = await self._step(lambda code: rotating.drop(self._name, last_four, code))
        self.said = (f"{done[:1].upper()}{done[1:]}. Enter begins anew.", "good")
        await self._front.look()
        profile = self._desk.profile(self._name) or stand.profile
        self._show(progress=None, reached={}, profile=profile)

    async def _confirmed(self, doomed: KeyToDelete) -> str:
        """The key's last four characters.

        :raises Declined: the person keeps it.
        """
        self._declined = "Kept: nothing was deleted."
        if self._stop.is_set():
            raise Cancelled
        self._show(phase=Phase.REST)
        typed = await self._front.ask_person(DeletionScreen(self._desk, doomed))
        if typed is None:
            raise Cancelled
        return typed

    async def _step(self, command: Callable[[str | None], T]) -> T:
        """One act, during which leaving asks first."""
        self._show(phase=Phase.WORK, until=None, failed=False, is_full=False, is_amiss=False)
        self._desk.rotating |= {self._name}
        try:
            return await self._acts.done(command, self._name)
        finally:
            self._desk.rotating -= {self._name}

    def _seen(self, progress: Progress) -> None:
        """What an act gave."""
        self.said = (f"{progress.note}." if progress.note else "", "soon")
        reached = dict(self.stand.reached)
        if progress.step is not self.stand.step:
            reached[progress.step] = self._desk.now()
        if progress.step is Step.DEACTIVATED and not progress.is_undoing:
            self.said = ("Done for now. The old key goes only when you say so: D here, or R later.", "good")
        self._show(progress=progress, reached=reached, until=None, is_turning=False)

    def _failed(self, error: Exception) -> None:
        """Say why. What the latest snapshot says of the rotation counts, as the act may have come further than it told."""
        stand = replace(self.stand, is_turning=False)
        profile = self._desk.profile(self._name) or stand.profile
        known = stand.progress
        waits = known and not known.is_over and ("undoing" if known.is_undoing else str(known.step))
        if profile.rotation.waits != (waits or None):
            known, stand = None, replace(stand, profile=profile)
        is_first = known is None and profile.rotation.waits is None and self._begins
        is_full = isinstance(error, RotationHalted) and is_first
        is_amiss = isinstance(error, RotationHalted) and not is_first
        self.stand = replace(stand, progress=known, failed=True, is_full=is_full, is_amiss=is_amiss)
        self.said = (self._worded(error), "error")

    def _worded(self, error: Exception) -> str:
        if not isinstance(error, KeyturnError):
            return told(error)
        known = self.stand.progress
        if known is not None and error.hint == known.stands():
            hint = ""  # the line above says it already
        elif self.stand.is_full:
            hint = "D looks at the other key."
        else:
            hint = in_keys(error.hint, self._name)
        return KeyturnError(error.what, error.why, hint).line()

    def _tell(self) -> None:
        """On the message line, once nobody looks any more."""
        waits = (self._desk.profile(self._name) or self.stand.profile).rotation.waits
        if self.stand.failed:
            self._front.say(self.said[0], "error")
        elif self.stand.is_over:
            self._front.say(f"{safe(self._name, 60)}: {stop_words(self.stand)}", "good")
        elif waits is not None:
            words = waiting_words(waits)
            self._front.say(
                f"The rotation of the key of {safe(self._name, 60)} waits: {words}. R goes on with it.", "due"
            )

    def _show(self, **changes: Any) -> None:
        """Draw it as it is now."""
        self.stand = replace(self.stand, **changes)
        if self._draw is not None:
            self._draw()


def sharing(desk: AppState, profile: Profile) -> tuple[str, ...]:
    """The other profiles whose sessions come from the same key."""
    profiles = desk.snapshot.profiles if desk.snapshot else ()
    source = profile.source or profile.name
    return tuple(one.name for one in profiles if one.source == source and one.name != profile.name)


def in_keys(hint: str, name: str) -> str:
    """A hint that names a way of the verb `rotate`, with the dialog's key in its place."""
    verb = rf"`?keyturn rotate {re.escape(name)}( --(?!policy)\w+)( --confirm \S+| [A-Z0-9]{{4}}\b)?`?"
    worded = re.sub(verb, lambda found: _KEYS.get(found[1].strip(), found[0]), hint)
    return re.sub(
        r"\b([Rr])un: (Enter|u|D)\b",
        lambda found: f"{'P' if found[1] == 'R' else 'p'}ress {found[2]}",
        worded,
    )
