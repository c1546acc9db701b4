"""The verb that replaces a long-term key: rotate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import click

from keyturn.cli.options import as_json, opens_vault, yes
from keyturn.cli.output import columns, emit, say, warn
from keyturn.cli.prompts import VaultUnlocker, ask_line, confirm, on_terminal
from keyturn.model.errors import (
    AgentUnavailable,
    KeyturnError,
    NeedsUnlock,
    NotFound,
    RotationHalted,
    UsageError,
)
from keyturn.model.json_codec import from_table, to_table
from keyturn.model.labels import rotation_words
from keyturn.model.profile import Profile
from keyturn.model.text import masked_key_id
from keyturn.operations.rotation import iam_policy
from keyturn.operations.rotation.client import RotationClient
from keyturn.operations.rotation.delete_key import DeletionFacts
from keyturn.operations.rotation.progress import Progress
from keyturn.operations.rotation.record import Step

_FORWARD_STEPS = {
    Step.CREATED: "the new key is sealed in the rotation journal",
    Step.VERIFIED: "AWS answers to it, three times in a row",
    Step.STORED: "it is the vault's key now, the old one is kept",
    Step.DELIVERED: "what rests on it is delivered",
    Step.DEACTIVATED: "the old key is switched off; it can be switched on again",
    Step.DONE: "the old key is deleted",
    Step.UNDONE: "the old key is the only one again",
}
_UNDO_STEPS = {
    Step.VERIFIED: "the old key answers, and is the vault's again",
    Step.UNDONE: "the old key is the only one again",
}


@click.command()
@click.argument("profile")
@click.option("--status", is_flag=True, help="Every key of the user at AWS and here, and what waits.")
@click.option("--resume", is_flag=True, help="Go on with a rotation that was interrupted.")
@click.option("--undo", is_flag=True, help="Go back to the old key, as long as it is not deleted.")
@click.option("--finish", is_flag=True, help="Delete the old key, once its time of grace is over.")
@click.option("--policy", is_flag=True, help="Print the IAM policy that a user needs for this.")
@click.option("--drop", metavar="LAST4", help="Delete a key of the user that keyturn does not hold.")
@click.option("--confirm", "word", metavar="LAST4", help="With --finish: the old key's last four characters.")
@click.option("--mfa-code", metavar="CODE", help="The six digits that the MFA device shows now.")
@as_json
@yes
@opens_vault
def rotate(unlocker: VaultUnlocker, *, profile: str, json_: bool, **words: Any) -> int | None:
    """Replace a long-term key by a new one and switch the old one off. Deletes nothing.

    Each step is on disk before the next: whatever interrupts it, a key that works is in the vault, and --resume or --undo
    goes on from there. --finish deletes the old key, 24 hours later or when told so by its last four characters.
    """
    ways = [way for way in ("status", "resume", "undo", "finish", "policy") if words[way]]
    ways += ["drop"] if words["drop"] is not None else []
    if len(ways) > 1:
        raise UsageError("rotate", f"--{ways[0]} and --{ways[1]} do not go together", "Name one")
    way = ways[0] if ways else None
    if words["word"] is not None and way != "finish":
        raise UsageError("rotate", "--confirm goes with --finish", "Leave it out")
    turn = _RotateCommand(unlocker, profile, words["mfa_code"], json_, words["yes"])
    if way == "drop":
        return turn.drop(words["drop"])
    if way == "policy":
        return turn.policy()
    if way == "status":
        return turn.status()
    if way == "finish":
        return turn.finish(words["word"])
    return {"resume": turn.resume, "undo": turn.undo, None: turn.rotate}[way]()


@dataclass
class _RotateCommand:
    """One call of the verb."""

    unlocker: VaultUnlocker
    name: str
    code: str | None
    json_: bool
    yes: bool

    def rotate(self) -> int:
        row = self._row()
        self._rotating.check(self.name)
        told = rotation_words(row.rotation)
        key = masked_key_id(row.key.key_id) if row.key else "its key"
        confirm(f"Replace {key} of {self.name} ({told}) by a new key, and switch it off", yes=self.yes)
        return self._run_to_end(
            self._asked(self._rotating.start), self._rotating.advance, wants=Step.DEACTIVATED
        )

    def resume(self) -> int:
        return self._run_to_end(self._asked(self._rotating.advance), self._rotating.advance)

    def undo(self) -> int:
        confirm(f"Go back to the old key of {self.name}; the new one is deleted", yes=self.yes)
        return self._run_to_end(self._asked(self._rotating.undo), self._rotating.advance)

    def finish(self, word: str | None) -> int:
        if word is None and on_terminal() and not self.json_:
            facts = self.unlocker.run_with_code(
                lambda code: self._rotating.deletion_facts(self.name, code), self._run_step()
            )
            _print_deletion_facts(facts)
            word = ask_line("Type the last four characters of the key to delete it, or Enter to keep it")
            if not word:
                say("Nothing was deleted.")
                return 1
        return self._run_to_end(
            self._asked(lambda name, code: self._rotating.finish(name, word, code)), self._rotating.advance
        )

    def drop(self, last_four: str) -> int:
        say(
            self.unlocker.run_with_code(
                lambda code: self._rotating.delete_other_key(self.name, last_four, code), self._run_step()
            )
        )
        return 0

    def status(self) -> int:
        found = self.unlocker.run_with_code(
            lambda code: self._rotating.status(self.name, code), self._run_step()
        )
        if self.json_:
            emit(found)
        else:
            _say_status(found)
        return 0

    def policy(self) -> int:
        row = self._row()
        partition, path = iam_policy.user_arn_parts(row.key.user if row.key and row.key.user else "")
        click.echo(iam_policy.self_rotation(partition, path, with_mfa=bool(row.mfa_serial)))
        return 0

    @property
    def _rotating(self) -> RotationClient:
        return self.unlocker.service.rotation

    def _row(self) -> Profile:
        for row in self.unlocker.service.snapshot().profiles:
            if row.name == self.name:
                return row
        raise NotFound(f"profile {self.name}", "there is none by that name", "Run: keyturn list")

    def _asked(self, act: Callable[[str, str | None], Progress]) -> Progress:
        return self.unlocker.run_with_code(lambda code: act(self.name, code), self._run_step())

    def _run_step(self) -> str | None:
        code, self.code = self.code, None
        return code

    def _run_to_end(
        self, first: Progress, act: Callable[[str, str | None], Progress], *, wants: Step | None = None
    ) -> int:
        """Go on to the end, or to where a person decides.

        :param wants: the step that was asked for.
        :raises RotationHalted: there is a key whose secret never arrived; what was asked for has not come about.
        :raises KeyturnError: AWS made no key.
        """
        shown: Step | None = None
        progress = first
        for progress in self._rotating.run_to_end(first, lambda: self._advance(act)):
            self._say_step(progress, is_new=progress.step is not shown)
            shown = progress.step
        if self.json_:
            emit({"rotation": to_table(progress), "stands": progress.summary()})
        if progress.orphans:
            why = "a new key was made, and AWS's answer with its secret was lost"
            raise RotationHalted(f"rotation of {self.name}", why, progress.summary())
        if wants and progress.step is Step.UNDONE:
            hint = f"{progress.summary()}. Try again: keyturn rotate {self.name}"
            raise KeyturnError(f"rotation of {self.name}", "AWS made no new key, or it is gone", hint)
        if not self.json_:
            say(progress.summary())
        return 0

    def _advance(self, act: Callable[[str, str | None], Progress]) -> Progress:
        """One more act; whoever cannot go on for want of an open vault hears that a rotation waits."""
        try:
            return self._asked(act)
        except (AgentUnavailable, NeedsUnlock) as error:
            error.hint = f"{error.hint.rstrip('.')}. The rotation waits, and nothing is lost; then: keyturn rotate {self.name} --resume"
            raise

    def _say_step(self, progress: Progress, *, is_new: bool) -> None:
        done = _UNDO_STEPS if progress.is_undoing else _FORWARD_STEPS
        if not self.json_ and is_new and progress.step in done:
            is_old = progress.is_undoing or progress.step.is_past(Step.DEACTIVATED)
            key = progress.old_id if is_old else progress.new_id
            say(f"{progress.step} {masked_key_id(key or '')}: {done[progress.step]}")
        if progress.note and not progress.wait:
            warn(progress.note)
        elif progress.note and not self.json_:
            say(f"  {progress.note}; trying again in {progress.wait:.0f} s")


def _print_deletion_facts(facts: DeletionFacts) -> None:
    use = facts.last_use
    at = "never" if use is None or use.at is None else f"{use.at:%Y-%m-%d %H:%M} UTC"
    where = ", ".join(each for each in (use.service, use.region) if each) if use else ""
    say(f"{facts.old_id} will be deleted at AWS. This cannot be undone.")
    say(
        f"Last used, as far as AWS tells: {at if use is not None else 'unknown'}{f' ({where})' if where else ''}"
    )
    for each in facts.warnings:
        say(f"! {each}")


def _say_status(found: Mapping[str, Any]) -> None:
    say(f"{found['user']}")
    rows = [("KEY", "STATUS", "AGE", "LAST USED", "HERE")]
    for key in found["keys"]:
        used = key["last_used"] or ("never" if key["known"] else "unknown")
        by = f" ({key['last_used_by']})" if key["last_used_by"] else ""
        rows.append((key["key_id"], key["status"], f"{key['age_days']}d", used + by, key["held"] or "no"))
    columns(rows)
    for key_id in found["gone"]:
        say(f"{key_id} is held here, and AWS does not list it")
    if found["used_by"]:
        say(f"Used by: {', '.join(found['used_by'])}")
    rotation = found["rotation"]
    if rotation is not None:
        progress = from_table(Progress, rotation)
        say(f"A rotation waits at step {progress.step}. {progress.summary()}")
        if progress.note:
            warn(progress.note)


VERBS = (rotate,)
