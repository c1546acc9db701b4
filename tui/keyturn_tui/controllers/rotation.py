"""One key rotation as a conversation: step by step, with the waits that AWS needs and the user's
decisions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from keyturn.model.errors import KeyturnError, Remedy, RotationHalted
from keyturn.model.profile import Profile
from keyturn.model.text import safe
from keyturn.operations.rotation.progress import Progress, StepWaits
from keyturn.operations.rotation.record import Step
from keyturn_tui.actions import words_with_keys
from keyturn_tui.controllers.profiles import Cancelled, ProfileController
from keyturn_tui.controllers.ui import Ui
from keyturn_tui.dialogs.base import error_text
from keyturn_tui.dialogs.confirm import ConfirmedDeletion, ConfirmScreen, DeletionScreen
from keyturn_tui.rendering.key_deletion import KeyToDelete, lost_key, old_key, other_key
from keyturn_tui.rendering.rotation_steps import (
    Phase,
    RotationView,
    available_keys,
    pending_text,
    state_summary,
)
from keyturn_tui.state import AppState

T = TypeVar("T")

#: Options of `keyturn rotate` in hints, and the keys of the dialog that do the same.
_KEYS = {
    "--resume": "Enter", "--undo": "u", "--finish": "D", "--drop": "D",
}  # fmt: skip


class RotationController:
    """State of one rotation. It outlives its dialog if the user closes that while a step is running."""

    def __init__(self, state: AppState, controller: ProfileController, ui: Ui, profile: Profile) -> None:
        self._state = state
        self._controller = controller
        self._ui = ui
        self._name = profile.name
        self._stop_requested = asyncio.Event()
        self._draw: Callable[[], None] | None = None
        self._is_running = self._is_first_run = False
        self._cancel_text = ""
        self.view = RotationView(profile, shared_with=state.same_key_profiles(profile))
        self.status = ("", "text")
        """Text under the steps, and its role."""

    def attach(self, draw: Callable[[], None]) -> None:
        """Report changes to a dialog.

        :param draw: called after every change.
        """
        self._draw = draw

    def detach(self) -> None:
        """Stop reporting to the dialog; the status line reports the result if a step is running."""
        self._draw = None
        if not self._is_running:
            self._show_summary()

    def advance(self) -> None:
        """Start the rotation, or resume it."""
        rotation = self._state.service.rotation
        self._is_first_run = not self.view.has_started
        self._start(self._run_steps(rotation.advance if self.view.has_started else rotation.start))

    def undo(self) -> None:
        """Ask for confirmation, then go back to the old key."""
        self._start(self._confirm_undo())

    def delete(self) -> None:
        """Delete the key that this state offers, after its last four characters are typed, and the words that
        override what forbids it."""
        self._is_first_run = False
        self._start(self._delete())

    def stop(self) -> bool:
        """Start no further step and end a wait. Return False if nothing runs or stop was already
        requested."""
        if not self._is_running or self._stop_requested.is_set():
            return False
        self._stop_requested.set()
        self._update_view(is_stopping=True)
        return True

    def _start(self, conversation: Coroutine[Any, Any, None]) -> None:
        if self._is_running or self._name in self._state.working:
            conversation.close()
            self.status = ("Another operation on this profile is running. Try again in a moment.", "soon")
            self._update_view()
            return
        self._is_running = True
        self._ui.start(self._run(conversation))

    async def _run(self, conversation: Coroutine[Any, Any, None]) -> None:
        self._stop_requested.clear()
        self.status = ("", "text")
        self._cancel_text = "Cancelled. This step changed nothing."
        self._state.working |= {self._name}
        self._ui.redraw()
        failure: Exception | None = None
        try:
            await conversation
        except Cancelled:
            self.status = (self._cancel_text, "soon")
        except Exception as error:  # noqa: BLE001  # boundary between a user's action and a bug
            failure = error
        finally:
            self._state.working -= {self._name}
            self._is_running = False
        await self._ui.reload()
        if failure is not None:
            self._show_failure(failure)
        self._ui.redraw()
        self._update_view(phase=Phase.IDLE, until=None, is_stopping=False)
        if self._draw is None:
            self._show_summary()

    async def _run_steps(self, first: Callable[[str, str | None], Progress]) -> None:
        """Run steps until the rotation is finished, needs a decision, or is stopped."""
        waits, call = StepWaits(), partial(first, self._name)
        while True:
            progress = await self._step(call)
            self._show_progress(progress)
            if self._stop_requested.is_set():
                return
            try:
                wait = waits.next_wait(progress, self._state.now())
            except RotationHalted as error:
                self.status = (f"{error.why}. You can resume it later.", "soon")
                return
            if wait is None or (wait and not await self._wait(wait)):
                return
            call = partial(self._state.service.rotation.advance, self._name)

    async def _wait(self, seconds: float) -> bool:
        """Wait until AWS may be asked again. Return False if stopped."""
        self._update_view(phase=Phase.WAITING, until=self._state.now() + timedelta(seconds=seconds))
        try:
            await asyncio.wait_for(self._stop_requested.wait(), seconds)
        except TimeoutError:
            return True
        return False

    async def _confirm_undo(self) -> None:
        view = self.view
        steps = "It is reactivated if needed, verified, and stored as the current key."
        question = [
            f"Undo the rotation and go back to {view.old}?",
            "",
            f"{steps} Then {view.new} is deleted at AWS.",
        ]
        screen = ConfirmScreen(self._state, "Undo rotation", question, "undo it", keep_label="Cancel")
        if await self._ui.show_dialog(screen):
            self._update_view(is_undo_starting=True, reached_at={})
            await self._run_steps(self._state.service.rotation.undo)

    async def _delete(self) -> None:
        rotation, view = self._state.service.rotation, self.view
        if view.step is Step.DEACTIVATED:
            facts = await self._step(partial(rotation.deletion_facts, self._name))
            typed = await self._confirm_deletion(old_key(facts, view.profile, self._state.now()))
            self._show_progress(
                await self._step(
                    lambda code: rotation.finish(self._name, typed.last_four, code, force=typed.force)
                )
            )
            return
        if view.orphans:
            key = lost_key(view.orphans[0], view.old)
        else:
            found = await self._step(partial(rotation.status, self._name))
            key = other_key(found, self._state.now())
        typed = await self._confirm_deletion(key)
        done = await self._step(lambda code: rotation.delete_other_key(self._name, typed.last_four, code))
        self.status = (f"{done[:1].upper()}{done[1:]}. Press Enter to start again.", "good")
        await self._ui.reload()
        profile = self._state.profile(self._name) or view.profile
        self._update_view(progress=None, reached_at={}, profile=profile)

    async def _confirm_deletion(self, key: KeyToDelete) -> ConfirmedDeletion:
        """Return what the user typed to delete the key.

        :raises Cancelled: if the user keeps the key.
        """
        self._cancel_text = "Key kept. Nothing was deleted."
        if self._stop_requested.is_set():
            raise Cancelled
        self._update_view(phase=Phase.IDLE)
        typed = await self._ui.show_dialog(DeletionScreen(self._state, key))
        if typed is None:
            raise Cancelled
        return typed

    async def _step(self, command: Callable[[str | None], T]) -> T:
        """Run one step. While it runs, quitting asks for confirmation."""
        self._update_view(phase=Phase.RUNNING, until=None, failed=False, slots_full=False, has_drift=False)
        self._state.rotating |= {self._name}
        try:
            return await self._controller.run_rotation_step(command, self._name)
        finally:
            self._state.rotating -= {self._name}

    def _show_progress(self, progress: Progress) -> None:
        """Take over the result of a step."""
        self.status = (f"{progress.note}." if progress.note else "", "soon")
        reached_at = dict(self.view.reached_at)
        if progress.step is not self.view.step:
            reached_at[progress.step] = self._state.now()
        if progress.step is Step.DEACTIVATED and not progress.is_undoing:
            self.status = (
                "Done for now. The old key is deleted only after you confirm: D here, or R later.",
                "good",
            )
        self._update_view(progress=progress, reached_at=reached_at, until=None, is_undo_starting=False)

    def _show_failure(self, error: Exception) -> None:
        """Show an error. The latest snapshot counts more than the last result, because the step may have got
        further than it reported."""
        view = replace(self.view, is_undo_starting=False)
        profile = self._state.profile(self._name) or view.profile
        latest = view.progress
        pending_step = (
            latest and not latest.is_finished and ("undoing" if latest.is_undoing else str(latest.step))
        )
        if profile.rotation.pending_step != (pending_step or None):
            latest, view = None, replace(view, profile=profile)
        is_first = latest is None and profile.rotation.pending_step is None and self._is_first_run
        slots_full = isinstance(error, RotationHalted) and is_first
        has_drift = isinstance(error, RotationHalted) and not is_first
        self.view = replace(view, progress=latest, failed=True, slots_full=slots_full, has_drift=has_drift)
        self.status = (self._error_text(error), "error")

    def _error_text(self, error: Exception) -> str:
        if not isinstance(error, KeyturnError):
            return error_text(error)
        latest = self.view.progress
        if latest is not None and error.hint_parts == latest.summary_parts():
            return error.line(lambda _: "")  # the summary above already says it
        if self.view.slots_full:
            return error.line(lambda _: "Press D to see the other key.")
        keys = dict(available_keys(replace(self.view, phase=Phase.IDLE, is_stopping=False)))
        return error.line(partial(words_with_keys, key_of=partial(key_of, name=self._name, keys=keys)))

    def _show_summary(self) -> None:
        """Show the result on the status line after the dialog was closed."""
        profile = self._state.profile(self._name) or self.view.profile
        if self.view.failed:
            self._ui.show_message(self.status[0], "error")
        elif self.view.is_over:
            self._ui.show_message(f"{safe(self._name, 60)}: {state_summary(self.view)}", "good")
        elif profile.rotation.pending_step is not None:
            self._ui.show_message(pending_text(profile), "due")

    def _update_view(self, **changes: Any) -> None:
        """Change the view and redraw."""
        self.view = replace(self.view, **changes)
        if self._draw is not None:
            self._draw()


def key_of(remedy: Remedy, name: str, keys: Collection[str]) -> str | None:
    """Return the one of the dialog's `keys` that does the same for the profile `name`; None if there is
    none.
    """
    is_here = (remedy.operation, remedy.profile) == ("rotate", name)
    key = _KEYS.get(remedy.flag.partition(" ")[0]) if is_here else None
    return key if key in keys else None
