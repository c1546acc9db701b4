"""The command that rotates an access key: rotate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from keyturn.cli.options import as_json, opens_vault, yes
from keyturn.cli.output import columns, emit, say, warn
from keyturn.cli.prompts import VaultUnlocker, ask_line, confirm, on_terminal
from keyturn.model.errors import (
    THEN_RUN,
    AgentUnavailable,
    KeyturnError,
    NeedsUnlock,
    Remedy,
    RotationHalted,
    UsageError,
)
from keyturn.model.json_codec import from_table, to_table
from keyturn.model.labels import rotation_words
from keyturn.model.profile import Profile
from keyturn.model.text import masked_key_id
from keyturn.operations.rotation import iam_policy
from keyturn.operations.rotation.delete_key import DeletionFacts, Obstacle, obstacles_named
from keyturn.operations.rotation.progress import STEP_TEXTS, Progress
from keyturn.operations.rotation.record import Step
from keyturn.operations.rotation.rotation_client import RotationClient

T = TypeVar("T")


@click.command()
@click.argument("profile")
@click.option("--status", is_flag=True, help="Show the user's keys at AWS and here, and a pending rotation.")
@click.option("--resume", is_flag=True, help="Resume a pending rotation.")
@click.option("--undo", is_flag=True, help="Undo the rotation, as long as the old key is not deleted.")
@click.option("--finish", is_flag=True, help="Delete the old key after its grace period.")
@click.option("--policy", is_flag=True, help="Print the IAM policy that the user needs.")
@click.option("--drop", metavar="LAST4", help="Delete a key of the user that keyturn does not manage.")
@click.option(
    "--confirm", "word", metavar="LAST4", help="With --finish: last four characters of the old key."
)
@click.option(
    "--force",
    metavar="WORDS",
    help="With --confirm: delete the old key in its grace period (grace), or although it was used since or "
    "AWS does not report its last use (used), or both (grace,used).",
)
@click.option("--mfa-code", metavar="CODE", help="Current six-digit code of the MFA device.")
@as_json
@yes
@opens_vault
def rotate(unlocker: VaultUnlocker, *, profile: str, json_: bool, **options: Any) -> None:
    """Replace a long-term key with a new one and deactivate the old one. Only --finish and --drop delete
    a key.

    Each step is on disk before the next. After an interruption a working key is in the vault, and --resume or
    --undo continues from there. --finish deletes the old key once --confirm names its last four characters.
    In its grace period of 24 hours, or if it was used since the new key replaced it, or if AWS does not
    report its last use, that is refused, unless --force names what it overrides.
    """
    command = _RotateCommand(unlocker, profile, options["mfa_code"], json_, options["yes"])
    modes: dict[str, Callable[[], None]] = {
        "status": command.status,
        "resume": command.resume,
        "undo": command.undo,
        "finish": lambda: command.finish(options["word"], force),
        "policy": command.policy,
        "drop": lambda: command.drop(options["drop"]),
    }
    given = [mode for mode in modes if options[mode] not in (None, False)]
    if len(given) > 1:
        raise UsageError("Invalid options", f"--{given[0]} and --{given[1]} exclude each other", "Use one")
    if options["word"] is not None and given != ["finish"]:
        raise UsageError("Invalid option --confirm", "it requires --finish", "Remove it, or add --finish")
    if options["force"] is not None and options["word"] is None:
        raise UsageError("Invalid option --force", "it requires --finish --confirm LAST4", "Add them")
    force = obstacles_named(options["force"]) if options["force"] is not None else ()
    perform = modes[given[0]] if given else command.rotate
    perform()


@dataclass
class _RotateCommand:
    """One call of `keyturn rotate`."""

    unlocker: VaultUnlocker
    name: str
    code: str | None
    json_: bool
    yes: bool

    def rotate(self) -> None:
        row = self._row()
        self._rotation.check(self.name)
        key = masked_key_id(row.key.key_id) if row.key else "its key"
        question = (
            f"Replace {key} of {self.name} ({rotation_words(row.rotation)}) with a new key, and deactivate it"
        )
        confirm(question, yes=self.yes)
        progress = self._run_to_end(self._rotation.start)
        if progress.step is Step.UNDONE:
            raise KeyturnError(
                f"Could not rotate {self.name}",
                "AWS created no new key, or it was deleted",
                (*progress.summary_parts(), ". Try again: ", Remedy("rotate", self.name)),
            )
        self._say_end(progress)

    def resume(self) -> None:
        self._say_end(self._run_to_end(self._rotation.advance))

    def undo(self) -> None:
        confirm(f"Return to the old key of {self.name} and delete the new one", yes=self.yes)
        self._say_end(self._run_to_end(self._rotation.undo))

    def finish(self, last_four: str | None, force: tuple[Obstacle, ...]) -> None:
        if last_four is None and on_terminal() and not self.json_:
            last_four = self._ask_last_four()
        self._say_end(
            self._run_to_end(lambda name, code: self._rotation.finish(name, last_four, code, force))
        )

    def _ask_last_four(self) -> str | None:
        """Show the facts about the old key and return what the user types, or None if the key cannot be
        deleted by its last four characters alone."""
        facts = self._run(self._rotation.deletion_facts)
        _print_deletion_facts(facts)
        if facts.obstacles:
            return None
        last_four = ask_line(
            "Type the last four characters of the key to delete it, or press Enter to keep it"
        )
        if not last_four:
            say("Nothing was deleted.")
            raise click.exceptions.Exit(1)
        return last_four

    def drop(self, last_four: str) -> None:
        say(self._run(lambda name, code: self._rotation.delete_other_key(name, last_four, code)))

    def status(self) -> None:
        table = self._run(self._rotation.status)
        if self.json_:
            emit(table)
        else:
            _say_status(table)

    def policy(self) -> None:
        row = self._row()
        partition, path = iam_policy.user_arn_parts(row.key.user if row.key and row.key.user else "")
        click.echo(iam_policy.self_rotation(partition, path, with_mfa=bool(row.mfa_serial)))

    @property
    def _rotation(self) -> RotationClient:
        return self.unlocker.service.rotation

    def _row(self) -> Profile:
        return self.unlocker.service.context.read().row(self.name)

    def _run(self, action: Callable[[str, str | None], T]) -> T:
        """Run an operation with the given MFA code the first time, then without, because AWS accepts a code
        once."""
        code, self.code = self.code, None
        return self.unlocker.run_with_code(lambda code: action(self.name, code), code)

    def _run_to_end(self, first: Callable[[str, str | None], Progress]) -> Progress:
        """Perform steps until the rotation is finished or the user must decide.

        :raises RotationHalted: if there is a key whose secret never arrived.
        """
        progress = self._run(first)
        for latest in self._rotation.run_to_end(progress, self._advance):
            self._say_step(latest, is_new=latest is progress or latest.step is not progress.step)
            progress = latest
        if self.json_:
            emit({"rotation": to_table(progress), "stands": progress.summary()})
        if progress.orphans:
            raise RotationHalted(
                f"Rotation of {self.name} stopped",
                "a new key was created, but AWS's response with its secret was lost",
                progress.summary_parts(),
            )
        return progress

    def _advance(self) -> Progress:
        """Perform one step. If the vault cannot be unlocked, the error says that the rotation is pending."""
        try:
            return self._run(self._rotation.advance)
        except (AgentUnavailable, NeedsUnlock) as error:
            error.add_hint(
                "The rotation is pending, and nothing is lost; then ",
                THEN_RUN,
                Remedy("rotate", self.name, "--resume"),
            )
            raise

    def _say_end(self, progress: Progress) -> None:
        if not self.json_:
            say(progress.summary())

    def _say_step(self, progress: Progress, *, is_new: bool) -> None:
        text = STEP_TEXTS[progress.step]
        completed = text.undone if progress.is_undoing else text.completed
        if not self.json_ and is_new and completed:
            is_old_key = progress.is_undoing or progress.step.is_at_least(Step.DEACTIVATED)
            key = progress.old_id if is_old_key else progress.new_id
            say(f"{progress.step} {masked_key_id(key or '')}: {completed}")
        if progress.note and not progress.wait:
            warn(progress.note)
        elif progress.note and not self.json_:
            say(f"  {progress.note}; retrying in {progress.wait:.0f} s")


def _print_deletion_facts(facts: DeletionFacts) -> None:
    """Print the facts. The refusal that follows describes the obstacles."""
    used_at = f"{facts.use.at:%Y-%m-%d %H:%M} UTC" if facts.use.at else "never"
    where = f" ({facts.use.where})" if facts.use.where else ""
    if not facts.obstacles:
        say(f"{facts.old_id} will be deleted at AWS. This cannot be undone.")
    say(f"Last used, as reported by AWS: {used_at if facts.is_use_known else 'unknown'}{where}")


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
        say(f"{key_id} is stored here, but AWS does not list it")
    if table["used_by"]:
        say(f"Used by: {', '.join(table['used_by'])}")
    rotation = table["rotation"]
    if rotation is not None:
        progress = from_table(Progress, rotation)
        say(f"Rotation is pending at step {progress.step}. {progress.summary()}")
        if progress.note:
            warn(progress.note)
