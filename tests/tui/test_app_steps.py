"""The words of the rotation dialog outside its list of steps: keys, the facts before a deletion, and refusals."""

from __future__ import annotations

from datetime import timedelta

import pytest

from keyturn.aws.api import LastUse
from keyturn.model.profile import Profile
from keyturn.operations.rotation.delete_key import DeletionFacts
from keyturn.profiles.status import why_not_rotatable
from keyturn_tui.controllers.rotation import hint_with_keys
from keyturn_tui.dialogs.confirm import deletion_lines
from keyturn_tui.rendering.key_deletion import old_key
from keyturn_tui.rendering.profile_cells import Line
from tests.tui.sample_profiles import NOW, believable

OLD, NEW = "AKIAEXAMPLE00004WQP", "AKIAEXAMPLE00009ZLM"
DEPLOY = next(one for one in believable() if one.name == "ci-deploy")


def plain(lines: list[Line]) -> str:
    return "\n".join("".join(text for text, _ in line).rstrip() for line in lines)


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
    assert hint_with_keys(hint, "ci") == worded


def test_the_facts_before_a_deletion() -> None:
    use = LastUse(NOW - timedelta(hours=2), "s3", "eu-west-1")
    warnings_shown = ("it was used 2h ago, after the new key was made: something still has it",)
    text = plain(deletion_lines(old_key(DeletionFacts.of(OLD, use, warnings_shown), DEPLOY, NOW), 66, "▲"))
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
        "never, according to AWS" in old_key(DeletionFacts.of(OLD, LastUse(None), ()), DEPLOY, NOW).facts[1]
    )
    assert "Last used: unknown" in old_key(DeletionFacts.of(OLD, None, ()), DEPLOY, NOW).facts[1]


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
