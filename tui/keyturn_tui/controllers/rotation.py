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
from keyturn.operations.rotation.client import TIMEOUT
from keyturn.operations.rotation.progress import Progress
from keyturn.operations.rotation.record import Step
from keyturn_tui.controllers.profiles import Cancelled, ProfileController
from keyturn_tui.controllers.ui import Ui
from keyturn_tui.dialogs.base import told
from keyturn_tui.dialogs.confirm import ConfirmScreen, DeletionScreen
from keyturn_tui.rendering.key_deletion import KeyToDelete, lost_key, old_key, other_key
from keyturn_tui.rendering.profile_cells import waiting_words
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

    def __init__(self, state: AppState, controller: ProfileController, ui: Ui, profile: Profile) -> None:
        self._state = state
        self._controller = controller
        self._ui = ui
        self._name = profile.name
        self._stop = asyncio.Event()
        self._draw: Callable[[], None] | None = None
        self._goes_on = self._begins = False
        self._declined = ""
        self.view = RotationView(profile, also=state.sharing(profile))
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
        rotation = self._state.service.rotation
        self._begins = not self.view.has_begun
        self._start(self._through(rotation.advance if self.view.has_begun else rotation.start))

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
        if self._goes_on or self._name in self._state.working:
            conversation.close()
            self.said = ("Something else is at work on this profile; try again in a moment.", "soon")
            self._show()
            return
        self._goes_on = True
        self._ui.start(self._run(conversation))

    async def _run(self, conversation: Coroutine[Any, Any, None]) -> None:
        self._stop.clear()
        self.said = ("", "text")
        self._declined = "Stopped at the question; that step changed nothing."
        self._state.begin(self._name)
        self._ui.redraw()
        failure: Exception | None = None
        try:
            await conversation
        except Cancelled:
            self.said = (self._declined, "soon")
        except Exception as error:  # noqa: BLE001  # the boundary between a person's act and a fault of ours
            failure = error
        finally:
            self._state.end(self._name)
            self._goes_on = False
        await self._ui.look()
        if failure is not None:
            self._failed(failure)
        self._ui.redraw()
        self._show(phase=Phase.REST, until=None, is_stopping=False)
        if self._draw is None:
            self._tell()

    async def _through(self, first: Callable[[str, str | None], Progress]) -> None:
        """Act by act until it is over, a person decides, or one says stop."""
        act, since = partial(first, self._name), self._state.now()
        while True:
            before = self.view.step
            progress = await self._step(act)
            self._seen(progress)
            if progress.is_over or progress.is_halted or self._stop.is_set():
                return
            if progress.step is not before:
                since = self._state.now()
            if progress.wait:
                if self._state.now() - since > timedelta(seconds=TIMEOUT):
                    self.said = (f"{progress.note}. Go on later; nothing hurries.", "soon")
                    return
                if not await self._waited(progress):
                    return
            act = partial(self._state.service.rotation.advance, self._name)

    async def _waited(self, progress: Progress) -> bool:
        """Wait until AWS may be asked again. False if one says stop meanwhile."""
        self._show(phase=Phase.WAIT, until=self._state.now() + timedelta(seconds=progress.wait))
        try:
            await asyncio.wait_for(self._stop.wait(), progress.wait)
        except TimeoutError:
            return True
        return False

    async def _back(self) -> None:
        view = self.view
        question = [
            f"Go back to {view.old}?",
            "",
            f"It is switched on if it is off, proven to work, and becomes the vault's key again. Then {view.new} is deleted at AWS.",
        ]
        screen = ConfirmScreen(self._state, "Back to the old key", question, "go back", keep="Stay")
        if await self._ui.ask_person(screen):
            self._show(is_turning=True, reached={})
            await self._through(self._state.service.rotation.undo)

    async def _delete(self) -> None:
        rotation, view = self._state.service.rotation, self.view
        if view.step is Step.DEACTIVATED:
            facts = await self._step(partial(rotation.deletion_facts, self._name))
            last_four = await self._confirmed(old_key(facts, view.profile, self._state.now()))
            self._seen(await self._step(lambda code: rotation.finish(self._name, last_four, code)))
            return
        if view.orphans:
            key = lost_key(view.orphans[0], view.old)
        else:
            found = await self._step(partial(rotation.status, self._name))
            key = other_key(found, self._state.now())
        last_four = await self._confirmed(key)
        done = await self._step(lambda code: rotation.delete_other_key(self._name, last_four, code))
        self.said = (f"{done[:1].upper()}{done[1:]}. Enter begins anew.", "good")
        await self._ui.look()
        profile = self._state.profile(self._name) or view.profile
        self._show(progress=None, reached={}, profile=profile)

    async def _confirmed(self, key: KeyToDelete) -> str:
        """The key's last four characters.

        :raises Declined: the person keeps it.
        """
        self._declined = "Kept: nothing was deleted."
        if self._stop.is_set():
            raise Cancelled
        self._show(phase=Phase.REST)
        typed = await self._ui.ask_person(DeletionScreen(self._state, key))
        if typed is None:
            raise Cancelled
        return typed

    async def _step(self, command: Callable[[str | None], T]) -> T:
        """One act, during which leaving asks first."""
        self._show(phase=Phase.WORK, until=None, failed=False, is_full=False, is_amiss=False)
        self._state.rotating |= {self._name}
        try:
            return await self._controller.done(command, self._name)
        finally:
            self._state.rotating -= {self._name}

    def _seen(self, progress: Progress) -> None:
        """What an act gave."""
        self.said = (f"{progress.note}." if progress.note else "", "soon")
        reached = dict(self.view.reached)
        if progress.step is not self.view.step:
            reached[progress.step] = self._state.now()
        if progress.step is Step.DEACTIVATED and not progress.is_undoing:
            self.said = ("Done for now. The old key goes only when you say so: D here, or R later.", "good")
        self._show(progress=progress, reached=reached, until=None, is_turning=False)

    def _failed(self, error: Exception) -> None:
        """Say why. What the latest snapshot says of the rotation counts, as the act may have come further than it told."""
        view = replace(self.view, is_turning=False)
        profile = self._state.profile(self._name) or view.profile
        known = view.progress
        waits = known and not known.is_over and ("undoing" if known.is_undoing else str(known.step))
        if profile.rotation.waits != (waits or None):
            known, view = None, replace(view, profile=profile)
        is_first = known is None and profile.rotation.waits is None and self._begins
        is_full = isinstance(error, RotationHalted) and is_first
        is_amiss = isinstance(error, RotationHalted) and not is_first
        self.view = replace(view, progress=known, failed=True, is_full=is_full, is_amiss=is_amiss)
        self.said = (self._worded(error), "error")

    def _worded(self, error: Exception) -> str:
        if not isinstance(error, KeyturnError):
            return told(error)
        known = self.view.progress
        if known is not None and error.hint == known.summary():
            hint = ""  # the line above says it already
        elif self.view.is_full:
            hint = "D looks at the other key."
        else:
            hint = in_keys(error.hint, self._name)
        return KeyturnError(error.what, error.why, hint).line()

    def _tell(self) -> None:
        """On the message line, once nobody looks any more."""
        waits = (self._state.profile(self._name) or self.view.profile).rotation.waits
        if self.view.failed:
            self._ui.say(self.said[0], "error")
        elif self.view.is_over:
            self._ui.say(f"{safe(self._name, 60)}: {stop_words(self.view)}", "good")
        elif waits is not None:
            words = waiting_words(waits)
            self._ui.say(
                f"The rotation of the key of {safe(self._name, 60)} waits: {words}. R goes on with it.", "due"
            )

    def _show(self, **changes: Any) -> None:
        """Draw it as it is now."""
        self.view = replace(self.view, **changes)
        if self._draw is not None:
            self._draw()


def in_keys(hint: str, name: str) -> str:
    """A hint that names a way of the verb `rotate`, with the dialog's key in its place."""
    verb = rf"`?keyturn rotate {re.escape(name)}( --(?!policy)\w+)( --confirm \S+| [A-Z0-9]{{4}}\b)?`?"
    worded = re.sub(verb, lambda found: _KEYS.get(found[1].strip(), found[0]), hint)
    return re.sub(
        r"\b([Rr])un: (Enter|u|D)\b",
        lambda found: f"{'P' if found[1] == 'R' else 'p'}ress {found[2]}",
        worded,
    )
