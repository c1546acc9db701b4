"""The command that rotates an access key: rotate."""

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
def rotate(unlocker: VaultUnlocker, *, profile: str, json_: bool, **options: Any) -> int | None:
    """Replace a long-term key by a new one and switch the old one off. Deletes nothing.

    Each step is on disk before the next: whatever interrupts it, a key that works is in the vault, and --resume or --undo
    goes on from there. --finish deletes the old key, 24 hours later or when told so by its last four characters.
    """
    modes = [mode for mode in ("status", "resume", "undo", "finish", "policy") if options[mode]]
    modes += ["drop"] if options["drop"] is not None else []
    if len(modes) > 1:
        raise UsageError("rotate", f"--{modes[0]} and --{modes[1]} do not go together", "Name one")
    mode = modes[0] if modes else None
    if options["word"] is not None and mode != "finish":
        raise UsageError("rotate", "--confirm goes with --finish", "Leave it out")
    command = _RotateCommand(unlocker, profile, options["mfa_code"], json_, options["yes"])
    if mode == "drop":
        return command.drop(options["drop"])
    if mode == "policy":
        return command.policy()
    if mode == "status":
        return command.status()
    if mode == "finish":
        return command.finish(options["word"])
    return {"resume": command.resume, "undo": command.undo, None: command.rotate}[mode]()


@dataclass
class _RotateCommand:
    """One call of `keyturn rotate`."""

    unlocker: VaultUnlocker
    name: str
    code: str | None
    json_: bool
    yes: bool

    def rotate(self) -> int:
        row = self._row()
        self._rotation.check(self.name)
        rotation_text = rotation_words(row.rotation)
        key = masked_key_id(row.key.key_id) if row.key else "its key"
        confirm(
            f"Replace {key} of {self.name} ({rotation_text}) by a new key, and switch it off", yes=self.yes
        )
        return self._run_to_end(
            self._run_with_code(self._rotation.start), self._rotation.advance, wanted_step=Step.DEACTIVATED
        )

    def resume(self) -> int:
        return self._run_to_end(self._run_with_code(self._rotation.advance), self._rotation.advance)

    def undo(self) -> int:
        confirm(f"Go back to the old key of {self.name}; the new one is deleted", yes=self.yes)
        return self._run_to_end(self._run_with_code(self._rotation.undo), self._rotation.advance)

    def finish(self, last_four: str | None) -> int:
        if last_four is None and on_terminal() and not self.json_:
            facts = self.unlocker.run_with_code(
                lambda code: self._rotation.deletion_facts(self.name, code), self._take_code()
            )
            _print_deletion_facts(facts)
            last_four = ask_line("Type the last four characters of the key to delete it, or Enter to keep it")
            if not last_four:
                say("Nothing was deleted.")
                return 1
        return self._run_to_end(
            self._run_with_code(lambda name, code: self._rotation.finish(name, last_four, code)),
            self._rotation.advance,
        )

    def drop(self, last_four: str) -> int:
        say(
            self.unlocker.run_with_code(
                lambda code: self._rotation.delete_other_key(self.name, last_four, code), self._take_code()
            )
        )
        return 0

    def status(self) -> int:
        table = self.unlocker.run_with_code(
            lambda code: self._rotation.status(self.name, code), self._take_code()
        )
        if self.json_:
            emit(table)
        else:
            _say_status(table)
        return 0

    def policy(self) -> int:
        row = self._row()
        partition, path = iam_policy.user_arn_parts(row.key.user if row.key and row.key.user else "")
        click.echo(iam_policy.self_rotation(partition, path, with_mfa=bool(row.mfa_serial)))
        return 0

    @property
    def _rotation(self) -> RotationClient:
        return self.unlocker.service.rotation

    def _row(self) -> Profile:
        for row in self.unlocker.service.snapshot().profiles:
            if row.name == self.name:
                return row
        raise NotFound(f"profile {self.name}", "there is none by that name", "Run: keyturn list")

    def _run_with_code(self, action: Callable[[str, str | None], Progress]) -> Progress:
        return self.unlocker.run_with_code(lambda code: action(self.name, code), self._take_code())

    def _take_code(self) -> str | None:
        """Return the given MFA code the first time, then None, because AWS accepts a code once."""
        code, self.code = self.code, None
        return code

    def _run_to_end(
        self,
        first: Progress,
        action: Callable[[str, str | None], Progress],
        *,
        wanted_step: Step | None = None,
    ) -> int:
        """Perform steps until the rotation is finished or the user must decide.

        :param wanted_step: the step that the command must reach.
        :raises RotationHalted: if there is a key whose secret never arrived.
        :raises KeyturnError: if AWS created no key.
        """
        shown_step: Step | None = None
        progress = first
        for progress in self._rotation.run_to_end(first, lambda: self._advance(action)):
            self._say_step(progress, is_new=progress.step is not shown_step)
            shown_step = progress.step
        if self.json_:
            emit({"rotation": to_table(progress), "stands": progress.summary()})
        if progress.orphans:
            why = "a new key was made, and AWS's answer with its secret was lost"
            raise RotationHalted(f"rotation of {self.name}", why, progress.summary())
        if wanted_step and progress.step is Step.UNDONE:
            hint = f"{progress.summary()}. Try again: keyturn rotate {self.name}"
            raise KeyturnError(f"rotation of {self.name}", "AWS made no new key, or it is gone", hint)
        if not self.json_:
            say(progress.summary())
        return 0

    def _advance(self, action: Callable[[str, str | None], Progress]) -> Progress:
        """Perform one step. If the vault cannot be unlocked, add to the error that the rotation is pending."""
        try:
            return self._run_with_code(action)
        except (AgentUnavailable, NeedsUnlock) as error:
            error.hint = f"{error.hint.rstrip('.')}. The rotation waits, and nothing is lost; then: keyturn rotate {self.name} --resume"
            raise

    def _say_step(self, progress: Progress, *, is_new: bool) -> None:
        texts = _UNDO_STEPS if progress.is_undoing else _FORWARD_STEPS
        if not self.json_ and is_new and progress.step in texts:
            is_old_key = progress.is_undoing or progress.step.is_at_least(Step.DEACTIVATED)
            key = progress.old_id if is_old_key else progress.new_id
            say(f"{progress.step} {masked_key_id(key or '')}: {texts[progress.step]}")
        if progress.note and not progress.wait:
            warn(progress.note)
        elif progress.note and not self.json_:
            say(f"  {progress.note}; trying again in {progress.wait:.0f} s")


def _print_deletion_facts(facts: DeletionFacts) -> None:
    use = facts.last_use
    used_at = "never" if use is None or use.at is None else f"{use.at:%Y-%m-%d %H:%M} UTC"
    where = ", ".join(warning for warning in (use.service, use.region) if warning) if use else ""
    say(f"{facts.old_id} will be deleted at AWS. This cannot be undone.")
    say(
        f"Last used, as far as AWS tells: {used_at if use is not None else 'unknown'}{f' ({where})' if where else ''}"
    )
    for warning in facts.warnings:
        say(f"! {warning}")


def _say_status(table: Mapping[str, Any]) -> None:
    say(f"{table['user']}")
    rows = [("KEY", "STATUS", "AGE", "LAST USED", "HERE")]
    for key in table["keys"]:
        last_used = key["last_used"] or ("never" if key["known"] else "unknown")
        service = f" ({key['last_used_by']})" if key["last_used_by"] else ""
        rows.append(
            (key["key_id"], key["status"], f"{key['age_days']}d", last_used + service, key["held"] or "no")
        )
    columns(rows)
    for key_id in table["gone"]:
        say(f"{key_id} is held here, and AWS does not list it")
    if table["used_by"]:
        say(f"Used by: {', '.join(table['used_by'])}")
    rotation = table["rotation"]
    if rotation is not None:
        progress = from_table(Progress, rotation)
        say(f"A rotation waits at step {progress.step}. {progress.summary()}")
        if progress.note:
            warn(progress.note)


COMMANDS = (rotate,)
