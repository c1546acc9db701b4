"""The words of the rotation dialog outside its list of steps: keys, deletion facts, refusals."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest

from keyturn.aws.api import LastUse
from keyturn.model.errors import THEN_RUN, Hint, Remedy, parts_of
from keyturn.model.profile import Profile
from keyturn.operations.rotation.delete_key import DeletionFacts, Obstacle
from keyturn.profiles.status import why_not_rotatable
from keyturn_tui.actions import words_with_keys
from keyturn_tui.controllers.rotation import key_of
from keyturn_tui.dialogs.confirm import deletion_lines
from keyturn_tui.rendering.key_deletion import old_key
from keyturn_tui.rendering.profile_cells import Line
from tests.tui.sample_profiles import NOW, believable

OLD, NEW = "AKIAEXAMPLE00004WQP", "AKIAEXAMPLE00009ZLM"
DEPLOY = next(one for one in believable() if one.name == "ci-deploy")


def plain(lines: list[Line]) -> str:
    return "\n".join("".join(text for text, _ in line).rstrip() for line in lines)


RESUME, UNDO = (Remedy("rotate", "ci", option) for option in ("--resume", "--undo"))


@pytest.mark.parametrize(
    ("hint", "worded"),
    [
        (UNDO, "Press u"),
        (("Go on: ", RESUME, ", or back: ", UNDO), "Go on: Enter, or back: u"),
        (("Have it on in the console, then ", THEN_RUN, UNDO), "Have it on in the console, then press u"),
        (("to delete it: ", Remedy("rotate", "ci", "--drop 9ZLM")), "to delete it: D"),
        (Remedy("rotate", "ci", "--finish --confirm 4WQP"), "Press D"),
        (("It is: ", Remedy("rotate", "ci", "--policy")), "It is: keyturn rotate ci --policy"),
        (("To start one: ", Remedy("rotate", "ci")), "To start one: keyturn rotate ci"),
        (("Adopt it first: ", Remedy("adopt", "ci")), "Adopt it first: keyturn adopt ci"),
        (Remedy("rotate", "other", "--undo"), "Run: keyturn rotate other --undo"),
        ("Check the disk", "Check the disk"),
    ],
)
def test_hints_name_keys_of_the_dialog(hint: Hint, worded: str) -> None:
    keys = {"Enter": "Continue", "u": "Undo…", "D": "Delete the old key…"}
    assert words_with_keys(parts_of(hint), partial(key_of, name="ci", keys=keys)) == worded


def test_a_hint_names_no_key_that_the_dialog_does_not_offer() -> None:
    assert words_with_keys(parts_of(UNDO), partial(key_of, name="ci", keys={"Enter": "Start"})) == (
        "Run: keyturn rotate ci --undo"
    )


def test_the_facts_before_a_deletion() -> None:
    use = LastUse(NOW - timedelta(hours=2), "s3", "eu-west-1")
    obstacles = {Obstacle.USED: "it was used 2h ago, after the new key was made: something still has it"}
    text = plain(deletion_lines(old_key(DeletionFacts.of(OLD, use, obstacles), DEPLOY, NOW), 66, "▲"))
    assert text == (
        "AKIA…4WQP of ci-deploy will be deleted at AWS.\n"
        "This cannot be undone. Last used: 2h ago (s3, eu-west-1).\n"
        "\n"
        "▲ It was used 2h ago, after the new key was made: something still\n"
        "  has it.\n"
        "\n"
        "To delete it anyway, type its last four characters, and used to\n"
        "override:"
    )
    assert (
        "never, according to AWS" in old_key(DeletionFacts.of(OLD, LastUse(None), {}), DEPLOY, NOW).facts[1]
    )
    assert "Last used: unknown" in old_key(DeletionFacts.of(OLD, None, {}), DEPLOY, NOW).facts[1]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("ci-deploy", None),
        ("ci-deploy-mfa", None),
        ("ci-audit", "it has no access key of its own"),
        ("personal", "its key is a plaintext key in the shared files"),
        ("acme-dev-admin", "the vault has no access key for it"),
        ("backup", "the vault has no access key for it"),
    ],
)
def test_r_says_why_it_can_do_nothing(name: str, why: str | None) -> None:
    profile: Profile = next(one for one in believable() if one.name == name)
    refusal = why_not_rotatable(profile)
    assert (refusal and refusal.why.split(",")[0]) == why
