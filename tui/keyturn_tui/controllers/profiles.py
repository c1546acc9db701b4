"""Operations on profiles as conversations: run, ask the user for what is missing, run again."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from textual.screen import Screen

from keyturn.model.errors import (
    FileChanged,
    KeyturnError,
    NeedsConfirmation,
    NeedsInteraction,
    NeedsMfa,
    NeedsUnlock,
    NeedsVault,
    VaultError,
)
from keyturn.model.labels import undo_command
from keyturn.model.profile import Failure, Plan, Profile, Refreshed, Session, VaultState
from keyturn.model.secret import Secret
from keyturn.model.steps import Step
from keyturn.model.text import safe
from keyturn.operations.credentials.refresh_many import RefreshOutcome
from keyturn.profiles.renewal_words import UNUSED
from keyturn_tui.controllers.ui import Ui
from keyturn_tui.dialogs.base import EntryDialog
from keyturn_tui.dialogs.confirm import ConfirmScreen, TypedConfirmScreen
from keyturn_tui.dialogs.create_vault import CreateVaultScreen
from keyturn_tui.dialogs.mfa import MfaScreen, count_served
from keyturn_tui.dialogs.review_changes import ReviewScreen, dependents_choice, session_none_choice
from keyturn_tui.dialogs.unlock import UnlockScreen
from keyturn_tui.rendering.profile_cells import join_names
from keyturn_tui.rendering.progress import progress_text
from keyturn_tui.state import AppState
from keyturn_tui.workers import Queue, Watch

T = TypeVar("T")


class Cancelled(Exception):  # the user's choice, not an error
    """The user closed a dialog.

    :param is_running: the operation that it had started continues.
    """

    def __init__(self, *, is_running: bool = False) -> None:
        super().__init__()
        self.is_running = is_running


class ProfileController:
    """Runs the operations on profiles and the vault. Each is a coroutine on the event loop; blocking work
    runs in `WorkerPool`."""

    def __init__(self, state: AppState, ui: Ui) -> None:
        self._state = state
        self._ui = ui
        self._dialog_lock = asyncio.Lock()
        self._cancelled_topics: set[str] = set()
        self._watch: Watch | None = None
        """The watch of a running operation on many profiles."""

    async def refresh(self, name: str, need: NeedsMfa | None = None) -> None:
        """Refresh one profile.

        :param need: an MFA code to ask for first.
        """
        self._reset_cancelled()
        await self._run_on_profile(
            name, f"refresh of {name}", partial(self._refresh, name, initial_need=need)
        )

    async def sign_in(self, profile: Profile) -> None:
        """Ask for the MFA code of a profile first, if it has an MFA device, then refresh it."""
        name, serial = profile.name, profile.mfa_serial
        need = NeedsMfa(f"refresh of {name}", profile=name, serial=serial) if serial else None
        await self.refresh(name, need)

    async def refresh_due(self) -> None:
        """Refresh all profiles that are in use and due, eight at a time. Those that need an MFA code follow,
        one by one; if the user cancels a dialog, the profiles that need it are skipped. If none is due, offer
        those that have expired and are not in use. Do nothing while such a refresh is running.
        """
        if self._watch is not None:
            self._ui.show_message("Profiles are being refreshed. Esc stops that.")
            return
        service = self._state.service
        try:
            names = await self._state.workers.run(service.due_profiles, Queue.AWS)
            unused = await self._state.workers.run(service.unused_profiles, Queue.AWS)
        except KeyturnError as error:
            self._ui.show_message(error.line(), "error")
            return
        if not names:
            if not unused or not await self._ui.show_dialog(unused_dialog(self._state, unused)):
                self._ui.show_message("No profile in use is due for a refresh.")
                return
            names, unused = unused, ()
        self._cancelled_topics.clear()
        counts = await self._refresh_all([name for name in names if name not in self._state.working])
        if counts is None:
            return
        skipped = len(names) - counts[True] - counts[False]
        parts = [
            f"{counts[True]} refreshed",
            f"{counts[False]} failed" if counts[False] else "",
            f"{skipped} skipped" if skipped else "",
        ]
        more = f" {count_words(len(unused), 'expired profile')} not in use: press a again." if unused else ""
        text = ", ".join(part for part in parts if part) + "." + more
        self._ui.show_message(text, "error" if counts[False] else "good")

    async def _refresh_all(self, names: Sequence[str]) -> Counter[bool] | None:
        """Refresh several profiles at the same time, then those that need an MFA code one after the other.
        Return how many succeeded and how many failed, or None if an error ended it, which is shown.
        """
        self._watch = watch = self._state.workers.watch()
        try:
            outcomes = await self._refresh_together(names, watch)
            waiting = [outcome for outcome in outcomes or () if isinstance(outcome.error, NeedsMfa)]
            ended = [outcome for outcome in outcomes or () if not isinstance(outcome.error, NeedsMfa)]
            counts = Counter(map(self._note_outcome, ended))
            await self._ui.reload()
            for name in [outcome.profile for outcome in waiting]:
                if watch.is_stopped:
                    break
                done = await self._run_on_profile(name, f"refresh of {name}", partial(self._refresh, name))
                if done is not None:
                    counts[done] += 1
        finally:
            self._watch = None
        return None if outcomes is None else counts

    async def _refresh_together(
        self, names: Sequence[str], watch: Watch
    ) -> tuple[RefreshOutcome, ...] | None:
        """Return the outcomes of the profiles that were begun, or None if an error ended it, which is
        shown.
        """
        self._state.working |= set(names)
        self.show_step(Step("refreshing", 0, len(names)))
        self._ui.redraw()
        refresh = partial(self._state.service.watched(watch.steps).refresh_many, names)
        try:
            return await self._run_unlocked(
                refresh, Queue.AWS, f"refresh of {count_words(len(names), 'profile')}"
            )
        except Cancelled:
            return ()
        except KeyturnError as error:
            self._ui.show_message(error.line(), "error")
        except Exception as error:  # noqa: BLE001  # boundary between a user's action and a bug
            self._ui.report_bug("refresh of all", error)
        finally:
            self._state.working -= set(names)
        return None

    def _note_outcome(self, outcome: RefreshOutcome) -> bool:
        """Show a failure in its row. Return True if the refresh succeeded."""
        if outcome.error is None:
            self._state.failures.pop(outcome.profile, None)
            return True
        self._state.failures[outcome.profile] = Failure(self._state.now(), outcome.error.line())
        return False

    def show_step(self, step: Step) -> None:
        """Show how far a running operation on many profiles has come."""
        if self._watch is not None:
            self._ui.show_message(progress_text(step, is_stopping=self._watch.is_stopped))

    def cancel_remaining(self) -> bool:
        """Stop a running operation on many profiles between two of them. Return False if none is running."""
        if self._watch is None or self._watch.is_stopped:
            return False
        self._watch.stop()
        return True

    async def stop(self, profile: Profile) -> None:
        """End a session. Asks first if getting it back needs an MFA code or sign-in."""
        name = profile.name
        if profile.needs_person or profile.mfa_serial:
            question = [
                f"End the session of {name}?",
                "",
                "Delivered credentials are removed and the session is deleted.",
                "A new session needs an MFA code.",
            ]
            others = count_served(name, self._state.snapshot)
            if others:
                question.append(f"{count_words(others, 'other profile')} of this user will need one, too.")
            if not await self._ui.show_dialog(ConfirmScreen(self._state, "End session", question, "end it")):
                self._ui.show_message("Session kept.")
                return

        run = partial(self._run_unlocked, partial(self._state.service.stop, name))
        await self._run_on_profile(name, f"stop of {name}", run)

    async def lock(self) -> None:
        """Lock the vault."""
        await self._run_general("lock", self._lock)

    async def pause(self) -> None:
        """Pause or resume auto-renewal."""
        await self._run_general("renewal", self._pause)

    async def manage(self, profile: Profile) -> None:
        """Adopt a native profile or release a managed one, after the user reviewed the changes."""
        run = self._release if profile.managed else self._adopt
        verb = "release" if profile.managed else "adopt"
        await self._run_general(f"{verb} of {profile.name}", partial(run, profile.name))

    async def run_rotation_step(self, command: Callable[[str | None], T], name: str) -> T:
        """Run one rotation step; create or unlock the vault and ask for an MFA code first if needed.

        :param command: takes the MFA code, or None if none is needed.
        :raises Cancelled: if the user closed a dialog.
        """
        self._reset_cancelled(except_for=name)
        try:
            return await self._run_unlocked(partial(command, None), label=f"rotation of {name}")
        except NeedsMfa as need:
            purpose = f"rotating the key of {name}"
            screen = MfaScreen(self._state, need, command, queue=Queue.WRITE, purpose=purpose)
            return await self._ask_mfa(screen, need)

    def _reset_cancelled(self, *, except_for: str = "") -> None:
        """Allow cancelled dialogs to be shown again, unless another operation still runs.

        :param except_for: the profile that the new operation already works on.
        """
        if not self._state.working - {except_for}:
            self._cancelled_topics.clear()

    async def _lock(self) -> str:
        await self._state.workers.run(self._state.service.lock, Queue.DIALOG)
        return "Vault locked. You can still browse; the next refresh asks for the passphrase."

    async def _pause(self) -> str:
        paused = self._state.snapshot is None or not self._state.snapshot.paused
        await self._state.workers.run(partial(self._state.service.pause, paused=paused), Queue.DIALOG)
        return "Auto-renewal paused. Press p to resume." if paused else "Auto-renewal resumed."

    async def _refresh(self, name: str, *, initial_need: NeedsMfa | None = None) -> str:
        snapshot, operation = self._state.snapshot, partial(self._state.service.refresh, name)
        # Unlock first, because an MFA code would be stale afterwards.
        need = initial_need if snapshot is not None and snapshot.vault is VaultState.OPEN else None
        while True:
            try:
                if need is None:
                    done = await self._run_unlocked(operation, Queue.AWS, f"refresh of {name}")
                else:
                    done = await self._ask_mfa(MfaScreen(self._state, need, operation), need)
                return refresh_message(done, self._state.now())
            except NeedsMfa as next_need:
                need = next_need

    async def _ask_mfa(self, screen: MfaScreen[T], need: NeedsMfa) -> T:
        """Ask for an MFA code and run the operation with it. The dialog itself retries after a wrong code."""
        serial = need.serial or need.profile
        async with self._dialog_lock:
            if serial in self._cancelled_topics:
                raise Cancelled
            try:
                return await self._ask(screen)
            except Cancelled:
                self._cancelled_topics.add(serial)
                raise
            except NeedsMfa as error:
                why, hint = "AWS did not accept the MFA code", "Try again with the next code."
                raise KeyturnError(error.what, why, hint) from None

    async def _ask(self, screen: Screen[T | Exception]) -> T:
        """Show a dialog and return its result.

        :raises Cancelled: if the user closed it.
        :raises Exception: the error that ended it.
        """
        answer = await self._ui.show_dialog(screen)
        if answer is None:
            raise Cancelled(is_running=isinstance(screen, EntryDialog) and screen.is_busy)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _run_unlocked(self, command: Callable[[], T], queue: Queue = Queue.WRITE, label: str = "") -> T:
        """Run a command; create or unlock the vault if needed and run it again."""
        while True:
            try:
                return await self._state.workers.run(command, queue, label)
            except NeedsVault:
                await self._ask_once("vault", self._ask_create_vault)
            except NeedsUnlock as need:
                await self._ask_once("unlock", partial(self._unlock, label or need.what))

    async def _ask_once(self, topic: str, question: Callable[[], Any]) -> None:
        """Show one dialog at a time. A caller that waited for another caller's dialog runs its command again
        first."""
        had_to_wait = self._dialog_lock.locked()
        async with self._dialog_lock:
            if had_to_wait and self._is_satisfied(topic):
                return
            if topic in self._cancelled_topics:
                raise Cancelled
            if not await question():
                self._cancelled_topics.add(topic)
                raise Cancelled
            await self._ui.reload()

    def _is_satisfied(self, topic: str) -> bool:
        state = self._state.snapshot.vault if self._state.snapshot else VaultState.ABSENT
        return state is VaultState.OPEN or (topic == "vault" and state is not VaultState.ABSENT)

    async def _ask_create_vault(self) -> bool:
        return await self._ui.show_dialog(CreateVaultScreen(self._state)) is True

    async def _unlock(self, what: str) -> bool:
        """Unlock with the system keyring if possible, otherwise ask for the passphrase or recovery key."""
        if self._state.snapshot is not None and self._state.snapshot.vault is VaultState.CLOSED:
            try:
                await self._state.workers.run(self._state.service.unlock, Queue.DIALOG)
            except (VaultError, NeedsInteraction) as error:
                self._ui.show_message(error.line(), "error")
            else:
                return True
        service, cancelled = self._state.service, threading.Event()

        def unlock(entered: Secret) -> bool:
            if is_recovery_key(entered):
                service.unlock(recovery_key=entered, cancelled=cancelled)
            else:
                service.unlock(passphrase=entered, cancelled=cancelled)
            return True

        screen = UnlockScreen(self._state, what, unlock, cancel=cancelled.set)
        answer: bool | Exception | None = await self._ui.show_dialog(screen)
        if isinstance(answer, Exception):
            raise answer
        return answer is True

    async def _adopt(self, name: str) -> str:
        service = self._state.service
        session_none, note = False, ""
        while True:
            plan = await self._run_unlocked(partial(service.plan_adopt, (name,), session_none=session_none))
            other = session_none_choice(partial(service.plan_adopt, (name,)))
            plan = await self._ask(ReviewScreen(self._state, plan, choice=other, note=note))
            session_none = plan.session_none
            if plan.needs_vault and not self._is_satisfied("vault"):
                await self._ask_once("vault", self._ask_create_vault)
            try:
                names = await self._run_unlocked(partial(service.adopt, plan))
            except FileChanged:
                note = "The files changed in the meantime. Nothing was written; this is the updated plan."
                continue
            return f"adopted {join_names(names)}; to undo, press m or run: {undo_command(plan)}"

    async def _release(self, name: str) -> str:
        service = self._state.service
        note, with_dependents = "", False
        while True:
            plan_release = partial(service.plan_release, (name,))
            plan = await self._run_unlocked(partial(plan_release, with_dependents=with_dependents))
            offers = bool(plan.remaining or plan.dependants)
            choice = dependents_choice(plan_release) if offers else None
            plan = await self._ask(ReviewScreen(self._state, plan, choice=choice, note=note))
            with_dependents = bool(plan.dependants)
            try:
                names = await self._release_confirmed(plan)
            except FileChanged:
                note = "The files changed in the meantime. Nothing was written; this is the updated plan."
                continue
            return f"released {join_names(names)}; the AWS CLI and SDKs resolve it again"

    async def _release_confirmed(self, plan: Plan) -> tuple[str, ...]:
        """Release with the passphrase, or with typed words if there is none, because a long-term secret
        leaves the vault."""
        release = self._state.service.release
        try:
            return await self._state.workers.run(partial(release, plan))
        except NeedsUnlock as need:
            what = f"release of {join_names(plan.names)}"
            screen: Screen[tuple[str, ...] | Exception] = UnlockScreen(
                self._state, what, lambda entered: release(plan, passphrase=entered), why=need.why
            )
        except NeedsConfirmation as need:
            screen = TypedConfirmScreen(self._state, need, lambda words: release(plan, words=words))
        return await self._ask(screen)

    async def _run_on_profile(self, name: str, what: str, run: Callable[[], Any]) -> bool | None:
        """Run an operation on one profile and mark it as working. A failure stays in its row. Return as
        :meth:`_run_reporting`; None if another operation on the profile is running."""
        if name in self._state.working:
            return None
        self._state.working |= {name}
        self._ui.redraw()
        try:
            done = await self._run_reporting(what, run, name)
        finally:
            self._state.working -= {name}
            self._ui.redraw()
        await self._ui.reload()
        return done

    async def _run_reporting(self, what: str, run: Callable[[], Any], name: str | None = None) -> bool | None:
        """Run an operation and show how it ended. Return True if it succeeded, None if the user cancelled it.

        :param name: the profile whose row shows a failure; None if the operation is not about one row.
        """
        try:
            self._ui.show_message(await run(), "good")
        except Cancelled as cancelled:
            end = "it continues in the background" if cancelled.is_running else "cancelled, nothing changed"
            self._ui.show_message(f"{safe(what)}: {end}.")
            return None
        except KeyturnError as error:
            failure = error.line()
            self._ui.show_message(failure, "error")
        except Exception as error:  # noqa: BLE001  # boundary between a user's action and a bug
            failure = "internal error; see keyturn.log"
            self._ui.report_bug(what, error)
        else:
            self._state.failures.pop(name or "", None)
            return True
        if name is not None:
            self._state.failures[name] = Failure(self._state.now(), failure)
        return False

    async def _run_general(self, what: str, run: Callable[[], Any]) -> None:
        """Run an operation that is not about one row."""
        self._cancelled_topics.clear()
        await self._run_reporting(what, run)
        await self._ui.reload()


def unused_dialog(state: AppState, names: Sequence[str]) -> ConfirmScreen:
    """Return the question if the expired profiles that are not in use are to be refreshed."""
    question = [
        f"No profile in use is due. Expired and {UNUSED}:",
        "",
        join_names(names),
        "",
        "They are not renewed automatically until a client asks for them.",
    ]
    return ConfirmScreen(state, "Refresh expired", question, "refresh them", keep_label="Leave them")


def count_words(number: int, noun: str) -> str:
    """Return for example `1 profile` or `3 profiles`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def is_recovery_key(entered: Secret) -> bool:
    """Return True if the input has the form of an age identity, that is, of the recovery key."""
    return entered.reveal().strip().upper().startswith("AGE-SECRET-KEY-1")


def refresh_message(done: Refreshed, now: datetime) -> str:
    """Return for example `refreshed ci-deploy (0.4 s), expires 14:46:12 UTC`."""
    session: Session = done.session
    expires = ""
    if session.expires is not None:
        date_text = "" if session.expires.date() == now.date() else f"{session.expires:%d %b} "
        expires = f", expires {date_text}{session.expires:%H:%M:%S} UTC"
    note = f". {safe(done.note)}" if done.note else ""
    return f"refreshed {safe(done.profile)} ({done.seconds:.1f} s){expires}{note}"
