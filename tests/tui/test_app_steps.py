"""How a rotation reads at each point of its way: pure, as tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from rich.cells import cell_len

from keyturn.aws.api import LastUse
from keyturn.model.errors import RotationHalted
from keyturn.model.profile import Profile, Rotation, RotationState
from keyturn.model.text import ASCII, UNICODE, Glyphs
from keyturn.operations.rotation.delete_key import DeletionFacts
from keyturn.operations.rotation.progress import Progress
from keyturn.operations.rotation.record import Step
from keyturn_tui.actions import unrotatable
from keyturn_tui.controllers.rotation import in_keys
from keyturn_tui.dialogs.confirm import deletion_lines
from keyturn_tui.rendering.key_deletion import old_key, other_key
from keyturn_tui.rendering.profile_cells import Line
from keyturn_tui.rendering.rotation_steps import (
    Phase,
    RotationView,
    keys_of,
    lines_of,
    step_lines,
    stop_words,
    title_of,
)
from tests.tui.believable import NOW, believable

OLD, NEW = "AKIAEXAMPLE00004WQP", "AKIAEXAMPLE00009ZLM"
DEPLOY = next(one for one in believable() if one.name == "ci-deploy")
ALSO = ("ci-deploy-mfa", "ci-audit", "terraform")


def at(step: Step, **more: object) -> Progress:
    new_id = None if step is Step.INTENT else NEW
    return replace(
        Progress(
            profile="ci-deploy",
            user="arn:aws:iam::444455556666:user/ci",
            old_id=OLD,
            step=step,
            new_id=new_id,
        ),
        **more,  # type: ignore[arg-type]  # fields of a row
    )


def stand(step: Step | None = None, phase: Phase = Phase.REST, **more: object) -> RotationView:
    progress = at(step) if step is not None else None
    return replace(RotationView(DEPLOY, phase, progress, also=ALSO), **more)  # type: ignore[arg-type]  # fields of a row


def waiting(waits: str) -> RotationView:
    rotation = Rotation(RotationState.IN_PROGRESS, 94, 90, waits=waits)
    return RotationView(replace(DEPLOY, rotation=rotation))


EVERY = {
    "ready": stand(),
    "refused": stand(failed=True),
    "full": stand(failed=True, is_full=True),
    "begins": stand(phase=Phase.WORK),
    "intent": stand(Step.INTENT),
    "lost": stand(progress=at(Step.INTENT, orphans=(NEW,), is_halted=True)),
    "created": stand(Step.CREATED),
    "verifies": stand(Step.CREATED, Phase.WORK, reached={Step.CREATED: NOW}),
    "spreads": stand(Step.CREATED, Phase.WAIT, until=NOW + timedelta(seconds=6)),
    "stops": stand(Step.CREATED, Phase.WORK, is_stopping=True),
    "refused later": stand(Step.VERIFIED, failed=True),
    "stored": stand(Step.STORED),
    "delivered": stand(Step.DELIVERED),
    "off": stand(progress=at(Step.DEACTIVATED, deletable_from=NOW + timedelta(hours=24))),
    "grace over": stand(progress=at(Step.DEACTIVATED, deletable_from=NOW)),
    "done": stand(Step.DONE),
    "back": stand(progress=at(Step.DELIVERED, is_undoing=True), phase=Phase.WORK),
    "back, later": stand(progress=at(Step.VERIFIED, is_undoing=True)),
    "undone": stand(progress=at(Step.UNDONE, is_undoing=True)),
    **{f"found {waits}": waiting(waits) for waits in ("created", "stored", "deactivated", "undoing")},
}


def plain(lines: list[Line]) -> str:
    return "\n".join("".join(text for text, _ in line).rstrip() for line in lines)


def test_the_list_of_steps_in_the_middle_of_a_rotation() -> None:
    text = plain(lines_of(EVERY["spreads"], NOW, 74, 20, UNICODE))
    assert text == (
        "Account 444455556666. In use: key AKIA…4WQP, 94 days old. Policy: a new\n"
        "key every 90 days (▲ overdue 4d).\n"
        "\n"
        "✓ 1  Check      the user, its keys, room for another  done\n"
        "✓ 2  Create     new key AKIA…9ZLM                     done\n"
        "✓ 3  Seal       new key in the journal, read back     done\n"
        "… 4  Verify     AWS answers to it, three in a row     asks again in 6 s\n"
        "  5  Store      becomes the vault's, old one kept\n"
        "  6  Deactivate old key AKIA…4WQP (reversible)\n"
        "  7  Delete     old key AKIA…4WQP, once you confirm   not before 24 h\n"
        "\n"
        "If you stop here: AKIA…4WQP and AKIA…9ZLM exist, AKIA…4WQP is in use.\n"
        "Nothing is lost; R goes on, or back.\n"
        "\n"
        "Also used by: ci-deploy-mfa, ci-audit, terraform. They follow.\n"
    )
    assert title_of(EVERY["spreads"], 74, UNICODE) == "Rotate access key: ci-deploy ── step 4 of 7"


@pytest.mark.parametrize(("name", "marks"), [
    ("ready", "       "), ("begins", "~~~    "), ("refused", "X      "), ("verifies", "+++~   "),
    ("spreads", "+++:   "), ("refused later", "++++X  "), ("stored", "++++>  "), ("off", "++++++>"),
    ("done", "+++++++"), ("back", "~  "), ("back, later", "++>"), ("undone", "+++"), ("found created", "+++>   "),
    ("found deactivated", "++++++>"), ("found undoing", ">  "),
])  # fmt: skip
def test_marks_tell_what_is_done_at_work_waiting_and_to_come(name: str, marks: str) -> None:
    lines = step_lines(EVERY[name], NOW, 74, ASCII)
    assert "".join(line[0][0][0] for line in lines) == marks


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII], ids=["glyphs", "ascii"])
@pytest.mark.parametrize("width", [74, 56, 36])
@pytest.mark.parametrize("name", EVERY)
def test_no_line_is_wider_than_the_box_and_what_matters_most_stays(
    name: str, width: int, glyphs: Glyphs
) -> None:
    one = EVERY[name]
    for height in (19, 12, 9, 6):
        lines = lines_of(one, NOW, width, height, glyphs)
        assert all(cell_len("".join(text for text, _ in line)) <= width for line in lines)
        text = " ".join(plain(lines).split())
        assert text.find(" ".join(stop_words(one).split())) >= 0
        assert len(lines) <= height or height == 6
    if width == 74:
        assert "…" not in plain(step_lines(one, NOW, width, ASCII)).replace("AKIA…", "")


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("ready", "Enter Esc"), ("refused", "Enter Esc"), ("full", "D Enter Esc"), ("begins", "Esc"), ("lost", "D Enter Esc"),
        ("intent", "Enter Esc"), ("created", "Enter u Esc"), ("spreads", "Esc"), ("off", "D u Enter Esc"), ("done", "Enter"),
        ("back, later", "Enter Esc"), ("found deactivated", "D u Enter Esc"), ("found undoing", "Enter Esc"),
    ],
)  # fmt: skip
def test_the_keys_of_each_state(name: str, keys: str) -> None:
    assert " ".join(key for key, _ in keys_of(EVERY[name])) == keys


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("begins", "AKIA…4WQP works and is in use; a new key that is made is kept. R goes on."),
        ("lost", "AKIA…9ZLM exists at AWS, and its secret never arrived: nobody can use it."),
        ("stored", "AKIA…9ZLM is in use"),
        ("off", "AKIA…9ZLM is in use; AKIA…4WQP is switched off, and can be switched on again."),
        ("done", "AKIA…9ZLM is in use, AKIA…4WQP is deleted."),
        ("undone", "AKIA…4WQP is in use, as before."),
        ("found created", "AKIA…4WQP and the new key exist"),
        ("found stored", "the old key and AKIA…4WQP work, AKIA…4WQP is in use"),
        ("found undoing", "the old key and the new key may both exist"),
    ],
)
def test_what_stands_if_one_stops(name: str, words: str) -> None:
    assert words in stop_words(EVERY[name])


@pytest.mark.parametrize(
    ("hint", "worded"),
    [
        ("Go on: keyturn rotate ci --resume, or back: keyturn rotate ci --undo", "Go on: Enter, or back: u"),
        ("Have it on in the console, then run: keyturn rotate ci --undo", "Have it on in the console, then press u"),
        ("to delete it: keyturn rotate ci --drop 9ZLM", "to delete it: D"),
        ("`keyturn rotate ci --policy` prints it", "`keyturn rotate ci --policy` prints it"),
        ("Adopt it first: keyturn adopt ci", "Adopt it first: keyturn adopt ci"),
    ],
)  # fmt: skip
def test_hints_name_keys_of_the_dialog(hint: str, worded: str) -> None:
    assert in_keys(hint, "ci") == worded


def test_the_facts_before_a_deletion() -> None:
    use = LastUse(NOW - timedelta(hours=2), "s3", "eu-west-1")
    against = ("it was used 2h ago, after the new key was made: something still has it",)
    text = plain(deletion_lines(old_key(DeletionFacts.of(OLD, use, against), DEPLOY, NOW), 66, "▲"))
    assert text == (
        "AKIA…4WQP of ci-deploy will be deleted at AWS.\n"
        "This cannot be undone. Last used: 2h ago (s3, eu-west-1).\n"
        "\n"
        "▲ It was used 2h ago, after the new key was made: something still\n"
        "  has it.\n"
        "\n"
        "Type the last four characters of the key to confirm:"
    )
    assert (
        "never, as far as AWS tells"
        in old_key(DeletionFacts.of(OLD, LastUse(None), ()), DEPLOY, NOW).facts[1]
    )
    assert "Last used: not known" in old_key(DeletionFacts.of(OLD, None, ()), DEPLOY, NOW).facts[1]


def test_the_key_in_the_other_slot_is_named_with_its_facts() -> None:
    key = {"key_id": NEW, "status": "Active", "age_days": 40, "last_used": None, "last_used_by": None}
    doomed = other_key({"profile": "ci", "keys": [{**key, "known": True, "held": None, "busy": None}]}, NOW)
    assert "active, 40 days old, and not kept here" in doomed.facts[0]
    assert doomed.against == ("it is active, though idle: whatever has it stops working",)


def test_a_key_in_the_other_slot_that_may_be_used_is_not_offered() -> None:
    key = {"key_id": NEW, "status": "Active", "age_days": 1, "last_used": None, "last_used_by": None}
    busy = "it is active, and it was made 39s ago and may not have been used yet"
    with pytest.raises(
        RotationHalted, match=r"may not have been used yet\. Find what has it and switch it off"
    ):
        other_key({"profile": "ci", "keys": [{**key, "known": True, "held": None, "busy": busy}]}, NOW)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("ci-deploy", None),
        ("ci-deploy-mfa", None),
        ("ci-audit", "rotate the key of ci-deploy"),
        ("personal", "adopt it first: m"),
        ("acme-dev-admin", "no long-term key"),
        ("backup", "no long-term key"),
    ],
)
def test_r_says_why_it_can_do_nothing(name: str, why: str | None) -> None:
    profile: Profile = next(one for one in believable() if one.name == name)
    said = unrotatable(profile)
    assert said is None if why is None else why in (said or "")
