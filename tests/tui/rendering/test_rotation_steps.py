"""A rotation as the dialog shows it at each step: rows, marks, notes, words and keys, as tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from rich.cells import cell_len

from keyturn.model.profile import Key, Profile, Rotation, RotationState
from keyturn.model.text import ASCII, UNICODE, Glyphs
from keyturn.operations.rotation.progress import Progress
from keyturn.operations.rotation.record import Step
from keyturn_tui.rendering.profile_cells import Line
from keyturn_tui.rendering.rotation_steps import (
    Phase,
    RotationView,
    available_keys,
    dialog_lines,
    dialog_title,
    done_count,
    shared_with_text,
    state_summary,
    step_lines,
    step_rows,
)
from tests.tui.sample_profiles import NOW, believable

OLD, NEW = "AKIAEXAMPLE00004WQP", "AKIAEXAMPLE00009ZLM"
OLD_SHOWN, NEW_SHOWN = "AKIA…4WQP", "AKIA…9ZLM"
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
DEPLOY = next(view_shown for view_shown in believable() if view_shown.name == "ci-deploy")
ALSO = ("ci-deploy-mfa", "ci-audit", "terraform")


def at(step: Step, **more: Any) -> Progress:
    new_id = None if step is Step.INTENT else NEW
    return replace(
        Progress(
            profile="ci-deploy",
            user="arn:aws:iam::444455556666:user/ci",
            old_id=OLD,
            step=step,
            new_id=new_id,
        ),
        **more,
    )


def view(step: Step | None = None, phase: Phase = Phase.IDLE, **more: Any) -> RotationView:
    progress = at(step) if step is not None else None
    return replace(RotationView(DEPLOY, phase, progress, shared_with=ALSO), **more)


def waiting(waits: str) -> RotationView:
    rotation = Rotation(RotationState.IN_PROGRESS, 94, 90, pending_step=waits)
    return RotationView(replace(DEPLOY, rotation=rotation))


EVERY = {
    "ready": view(),
    "refused": view(failed=True),
    "full": view(failed=True, slots_full=True),
    "begins": view(phase=Phase.RUNNING),
    "intent": view(Step.INTENT),
    "lost": view(progress=at(Step.INTENT, orphans=(NEW,), is_halted=True)),
    "created": view(Step.CREATED),
    "verifies": view(Step.CREATED, Phase.RUNNING, reached_at={Step.CREATED: NOW}),
    "spreads": view(Step.CREATED, Phase.WAITING, until=NOW + timedelta(seconds=6)),
    "stops": view(Step.CREATED, Phase.RUNNING, is_stopping=True),
    "refused later": view(Step.VERIFIED, failed=True),
    "stored": view(Step.STORED),
    "delivered": view(Step.DELIVERED),
    "off": view(progress=at(Step.DEACTIVATED, deletable_from=NOW + timedelta(hours=24))),
    "grace over": view(progress=at(Step.DEACTIVATED, deletable_from=NOW)),
    "done": view(Step.DONE),
    "back": view(progress=at(Step.DELIVERED, is_undoing=True), phase=Phase.RUNNING),
    "back, later": view(progress=at(Step.VERIFIED, is_undoing=True)),
    "undone": view(progress=at(Step.UNDONE, is_undoing=True)),
    **{f"found {waits}": waiting(waits) for waits in ("created", "stored", "deactivated", "undoing")},
}


def plain(lines: list[Line]) -> str:
    return "\n".join("".join(text for text, _ in line).rstrip() for line in lines)


def test_the_list_of_steps_in_the_middle_of_a_rotation() -> None:
    text = plain(dialog_lines(EVERY["spreads"], NOW, 74, 20, UNICODE))
    assert text == (
        "Account 444455556666. In use: key AKIA…4WQP, 94 days old. Policy: rotate\n"
        "every 90 days (▲ overdue 4d).\n"
        "\n"
        "✓ 1  Check      user, keys, free key slot             done\n"
        "✓ 2  Create     new key AKIA…9ZLM                     done\n"
        "✓ 3  Save       new key encrypted in the journal      done\n"
        "… 4  Verify     AWS accepts it three times in a row   retry in 6 s\n"
        "  5  Store      new key in the vault, old key kept\n"
        "  6  Deactivate old key AKIA…4WQP (reversible)\n"
        "  7  Delete     old key AKIA…4WQP, after you confirm  after 24 h earliest\n"
        "\n"
        "If you stop here: AKIA…4WQP and AKIA…9ZLM exist, AKIA…4WQP is in use.\n"
        "Nothing is lost; R resumes or undoes it.\n"
        "\n"
        "Also used by: ci-deploy-mfa, ci-audit, terraform (switch automatically).\n"
    )
    assert dialog_title(EVERY["spreads"], 74, UNICODE) == "Rotate access key: ci-deploy ── step 4 of 7"


@pytest.mark.parametrize(
    ("name", "marks"),
    [
        ("ready", "       "),
        ("begins", "~~~    "),
        ("refused", "X      "),
        ("verifies", "+++~   "),
        ("spreads", "+++:   "),
        ("refused later", "++++X  "),
        ("stored", "++++>  "),
        ("off", "++++++>"),
        ("done", "+++++++"),
        ("back", "~  "),
        ("back, later", "++>"),
        ("undone", "+++"),
        ("found created", "+++>   "),
        ("found deactivated", "++++++>"),
        ("found undoing", ">  "),
    ],
)
def test_marks_tell_what_is_done_at_work_waiting_and_to_come(name: str, marks: str) -> None:
    lines = step_lines(EVERY[name], NOW, 74, ASCII)
    assert "".join(line[0][0][0] for line in lines) == marks


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII], ids=["glyphs", "ascii"])
@pytest.mark.parametrize("width", [74, 56, 36])
@pytest.mark.parametrize("name", EVERY)
def test_no_line_is_wider_than_the_box_and_what_matters_most_stays(
    name: str, width: int, glyphs: Glyphs
) -> None:
    view_shown = EVERY[name]
    for height in (19, 12, 9, 6):
        lines = dialog_lines(view_shown, NOW, width, height, glyphs)
        assert all(cell_len("".join(text for text, _ in line)) <= width for line in lines)
        text = " ".join(plain(lines).split())
        assert text.find(" ".join(state_summary(view_shown).split())) >= 0
        assert len(lines) <= height or height == 6
    if width == 74:
        assert "…" not in plain(step_lines(view_shown, NOW, width, ASCII)).replace("AKIA…", "")


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("ready", "Enter Esc"),
        ("refused", "Enter Esc"),
        ("full", "D Enter Esc"),
        ("begins", "Esc"),
        ("lost", "D Enter Esc"),
        ("intent", "Enter Esc"),
        ("created", "Enter u Esc"),
        ("spreads", "Esc"),
        ("off", "D u Enter Esc"),
        ("done", "Enter"),
        ("back, later", "Enter Esc"),
        ("found deactivated", "D u Enter Esc"),
        ("found undoing", "Enter Esc"),
    ],
)
def test_the_keys_of_each_state(name: str, keys: str) -> None:
    assert " ".join(key for key, _ in available_keys(EVERY[name])) == keys


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("begins", "AKIA…4WQP works and is in use; a new key, once created, is kept. R resumes."),
        ("lost", "AKIA…9ZLM exists at AWS, but its secret was lost: nobody can use it."),
        ("stored", "AKIA…9ZLM is in use"),
        ("off", "AKIA…9ZLM is in use; AKIA…4WQP is inactive and can be reactivated."),
        ("done", "AKIA…9ZLM is in use, AKIA…4WQP is deleted."),
        ("undone", "AKIA…4WQP is in use, as before."),
        ("found created", "AKIA…4WQP and the new key exist"),
        ("found stored", "the old key and AKIA…4WQP work, AKIA…4WQP is in use"),
        ("found undoing", "the old key and the new key may both exist"),
    ],
)
def test_what_stands_if_one_stops(name: str, words: str) -> None:
    assert words in state_summary(EVERY[name])


# -- keys without an answer of AWS
# ------------------------------------------------------------------------------------

KEYLESS = RotationView(replace(DEPLOY, key=None))


@pytest.mark.parametrize(
    ("waits", "step", "old", "new"),
    [
        (None, None, OLD_SHOWN, "the new key"),
        ("intent", Step.INTENT, OLD_SHOWN, "the new key"),
        ("created", Step.CREATED, OLD_SHOWN, "the new key"),
        ("verified", Step.VERIFIED, OLD_SHOWN, "the new key"),
        # From here on the vault's key is the new one.
        ("stored", Step.STORED, "the old key", OLD_SHOWN),
        ("delivered", Step.DELIVERED, "the old key", OLD_SHOWN),
        ("deactivated", Step.DEACTIVATED, "the old key", OLD_SHOWN),
        # While a rotation is undone the vault may hold either.
        ("undoing", None, "the old key", "the new key"),
    ],
)
def test_the_key_in_the_vault_is_the_old_one_before_stored_and_the_new_one_after(
    waits: str | None, step: Step | None, old: str, new: str
) -> None:
    profile = replace(DEPLOY, rotation=Rotation(RotationState.IN_PROGRESS, 94, 90, pending_step=waits))
    view_shown = RotationView(profile)
    assert (view_shown.step, view_shown.old, view_shown.new) == (step, old, new)
    assert view_shown.is_undoing is (waits == "undoing")
    assert view_shown.has_started is (waits is not None)
    assert not view_shown.is_over
    assert view_shown.orphans == ()


def test_keys_have_names_in_words_if_no_id_is_known() -> None:
    assert (KEYLESS.old, KEYLESS.new, KEYLESS.in_use) == ("the old key", "the new key", "the old key")
    stored = RotationView(
        replace(KEYLESS.profile, rotation=Rotation(RotationState.IN_PROGRESS, pending_step="stored"))
    )
    assert (stored.old, stored.new, stored.in_use) == ("the old key", "the new key", "the new key")


@pytest.mark.parametrize("step", list(Step))
@pytest.mark.parametrize("is_undoing", [False, True])
def test_after_an_operation_its_progress_counts(step: Step, is_undoing: bool) -> None:
    progress = at(step, is_undoing=is_undoing, orphans=(NEW,))
    view_shown = RotationView(
        replace(DEPLOY, rotation=Rotation(RotationState.IN_PROGRESS, pending_step="undoing")),
        progress=progress,
    )
    assert (view_shown.step, view_shown.is_undoing, view_shown.orphans) == (step, is_undoing, (NEW,))
    assert view_shown.is_over is (step in (Step.DONE, Step.UNDONE))
    assert view_shown.has_started
    assert view_shown.old == OLD_SHOWN
    assert view_shown.new == ("the new key" if step is Step.INTENT else NEW_SHOWN)
    uses_new = step in (Step.STORED, Step.DELIVERED, Step.DEACTIVATED, Step.DONE)
    assert view_shown.in_use == (NEW_SHOWN if uses_new else OLD_SHOWN)


def test_a_confirmed_way_back_shows_at_once() -> None:
    turned = view(Step.STORED, is_undo_starting=True)
    assert turned.is_undoing
    assert len(step_rows(turned)) == 3
    assert RotationView(DEPLOY, is_undo_starting=True).has_started


# -- rows ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "is_undoing", "done"),
    [
        (None, False, 0),
        (Step.INTENT, False, 1),
        (Step.CREATED, False, 3),
        (Step.VERIFIED, False, 4),
        (Step.STORED, False, 4),
        (Step.DELIVERED, False, 5),
        (Step.DEACTIVATED, False, 6),
        (Step.DONE, False, 7),
        (Step.UNDONE, False, 0),
        (Step.CREATED, True, 2),
        (Step.VERIFIED, True, 2),
        (Step.STORED, True, 0),
        (Step.DELIVERED, True, 0),
        (Step.DEACTIVATED, True, 0),
        (Step.UNDONE, True, 3),
    ],
)
def test_the_number_of_steps_that_are_done(step: Step | None, is_undoing: bool, done: int) -> None:
    progress = at(step, is_undoing=is_undoing) if step is not None else None
    assert done_count(RotationView(DEPLOY, progress=progress)) == done


def test_a_way_back_that_was_not_looked_at_has_no_step_done() -> None:
    assert done_count(waiting("undoing")) == 0


FORWARD = [
    ("Check", Step.CREATED), ("Create", Step.CREATED), ("Save", Step.CREATED), ("Verify", Step.VERIFIED),
    ("Store", Step.DELIVERED), ("Deactivate", Step.DEACTIVATED), ("Delete", Step.DONE),
]  # fmt: skip
BACK = [("Reactivate", Step.VERIFIED), ("Store", Step.VERIFIED), ("Delete", Step.UNDONE)]


@pytest.mark.parametrize(("is_undoing", "rows"), [(False, FORWARD), (True, BACK)])
def test_the_rows_of_both_ways(is_undoing: bool, rows: list[tuple[str, Step]]) -> None:
    view_shown = view(progress=at(Step.STORED, is_undoing=is_undoing))
    assert [(row.name, row.final_step) for row in step_rows(view_shown)] == rows


@pytest.mark.parametrize(
    ("view_shown", "texts"),
    [
        (
            view(),
            {1: "a new key at AWS", 5: f"old key {OLD_SHOWN} (reversible)", 6: f"old key {OLD_SHOWN}, after"},
        ),
        (view(Step.INTENT), {1: "the new key"}),
        (view(progress=at(Step.INTENT, orphans=(NEW, OLD))), {1: f"new key {NEW_SHOWN}"}),
        (view(Step.DELIVERED), {1: f"new key {NEW_SHOWN}", 5: f"old key {OLD_SHOWN} (reversible)"}),
        (view(Step.DEACTIVATED), {5: f"old key {OLD_SHOWN} is inactive", 6: f"old key {OLD_SHOWN}, after"}),
        (view(Step.DONE), {5: f"old key {OLD_SHOWN} is inactive"}),
        (waiting("stored"), {1: "a new key at AWS", 5: "the old key (reversible)"}),
        (waiting("undoing"), {0: "the old key, until", 2: "the new key, no longer used"}),
        (
            view(progress=at(Step.STORED, is_undoing=True)),
            {0: f"old key {OLD_SHOWN}", 2: f"new key {NEW_SHOWN}"},
        ),
    ],
)
def test_the_rows_name_the_keys(view_shown: RotationView, texts: dict[int, str]) -> None:
    rows = step_rows(view_shown)
    assert {nth: rows[nth].description[: len(text)] for nth, text in texts.items()} == texts


def test_a_deleted_key_is_named_without_a_condition() -> None:
    assert step_rows(view(Step.DONE))[6].description == f"old key {OLD_SHOWN}"


# -- the title -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("ready", "Rotate access key: ci-deploy"),
        ("begins", "Rotate access key: ci-deploy"),
        ("intent", "Rotate access key: ci-deploy -- step 2 of 7"),
        ("off", "Rotate access key: ci-deploy -- step 7 of 7"),
        ("done", "Rotate access key: ci-deploy -- done"),
        ("back", "Undo rotation: ci-deploy -- step 1 of 3"),
        ("back, later", "Undo rotation: ci-deploy -- step 3 of 3"),
        ("undone", "Undo rotation: ci-deploy -- done"),
        ("found undoing", "Undo rotation: ci-deploy -- step 1 of 3"),
    ],
)
def test_the_title_says_which_key_and_how_far(name: str, title: str) -> None:
    assert dialog_title(EVERY[name], 74, ASCII) == title
    assert dialog_title(EVERY[name], 74, UNICODE) == title.replace("--", "──")


@pytest.mark.parametrize(
    ("room", "shown"), [(74, "b" * 37 + "…"), (45, "bbbbbbbb…"), (44, "bbbbbbb…"), (20, "bbbbbbb…")]
)
def test_a_long_name_leaves_room_for_how_far_it_is(room: int, shown: str) -> None:
    view_shown = replace(EVERY["stored"], profile=replace(DEPLOY, name="b" * 90))
    assert dialog_title(view_shown, room, UNICODE) == f"Rotate access key: {shown} ── step 5 of 7"


# -- lines ---------------------------------------------------------------------------------------


def marks_and_roles(view_shown: RotationView, width: int = 74) -> list[tuple[str, str]]:
    return [(line[0][0][0], line[0][1]) for line in step_lines(view_shown, NOW, width, UNICODE)]


@pytest.mark.parametrize(
    ("name", "nth", "expected"),
    [
        ("verifies", 0, ("✓", "good")), ("verifies", 3, ("↻", "working")), ("verifies", 4, (" ", "muted")),
        ("spreads", 3, ("…", "soon")), ("refused later", 4, ("✗", "error")), ("stored", 4, ("▸", "title")),
        ("ready", 0, (" ", "muted")), ("refused", 0, ("✗", "error")), ("done", 6, ("✓", "good")),
        ("begins", 2, ("↻", "working")), ("begins", 3, (" ", "muted")),
    ],
)  # fmt: skip
def test_a_mark_has_the_colour_of_its_step(name: str, nth: int, expected: tuple[str, str]) -> None:
    assert marks_and_roles(EVERY[name])[nth] == expected


def notes(view_shown: RotationView, width: int = 74) -> list[str]:
    return [line[-1][0].strip() for line in step_lines(view_shown, NOW, width, UNICODE)]


REACHED = {Step.CREATED: NOW - 90 * SECOND, Step.VERIFIED: NOW - 80 * SECOND}
DONE_THREE = ["done"] * 3
LATER = "after 24 h earliest"


@pytest.mark.parametrize(
    ("view_shown", "expected"),
    [
        (view(), ["", "", "", "", "", "", LATER]),
        (view(failed=True), ["failed", "", "", "", "", "", LATER]),
        (view(phase=Phase.RUNNING), ["running"] * 3 + ["", "", "", LATER]),
        (view(Step.INTENT), ["done", "next", "", "", "", "", LATER]),
        (view(progress=at(Step.INTENT, orphans=(NEW,))), ["done", "secret lost", "", "", "", "", LATER]),
        (view(Step.CREATED), [*DONE_THREE, "next", "", "", LATER]),
        (view(Step.CREATED, failed=True), [*DONE_THREE, "failed", "", "", LATER]),
        (view(Step.VERIFIED, reached_at=REACHED), ["14:03:40"] * 3 + ["14:03:50", "next", "", LATER]),
        (view(Step.CREATED, Phase.RUNNING), [*DONE_THREE, "running", "", "", LATER]),
        (
            view(Step.CREATED, Phase.RUNNING, is_stopping=True),
            [*DONE_THREE, "stops after this", "", "", LATER],
        ),
        (
            view(Step.CREATED, Phase.WAITING, until=NOW + 6 * SECOND),
            [*DONE_THREE, "retry in 6 s", "", "", LATER],
        ),
        (view(Step.CREATED, Phase.WAITING, until=NOW - SECOND), [*DONE_THREE, "retry in 1 s", "", "", LATER]),
        (view(Step.CREATED, Phase.WAITING), [*DONE_THREE, "retry in 1 s", "", "", LATER]),
        (view(Step.CREATED, Phase.WAITING, is_stopping=True), [*DONE_THREE, "retry in 1 s", "", "", LATER]),
        (view(Step.DEACTIVATED), ["done"] * 6 + ["needs confirmation"]),
        (
            view(progress=at(Step.DEACTIVATED, deletable_from=NOW + 24 * HOUR)),
            ["done"] * 6 + ["from 15 Mar 14:05Z"],
        ),
        (view(progress=at(Step.DEACTIVATED, deletable_from=NOW)), ["done"] * 6 + ["can be deleted now"]),
        (
            view(progress=at(Step.DEACTIVATED, deletable_from=NOW + SECOND)),
            ["done"] * 6 + ["from 14 Mar 14:05Z"],
        ),
        (view(progress=at(Step.DEACTIVATED), phase=Phase.RUNNING), ["done"] * 6 + ["running"]),
        (view(Step.DONE), ["done"] * 7),
        (view(progress=at(Step.VERIFIED, is_undoing=True)), ["done", "done", "next"]),
        (view(progress=at(Step.STORED, is_undoing=True), phase=Phase.RUNNING), ["running", "", ""]),
        (view(progress=at(Step.UNDONE)), ["", "", "", "", "", "", LATER]),
    ],
)
def test_the_note_of_each_step(view_shown: RotationView, expected: list[str]) -> None:
    assert notes(view_shown) == expected


@pytest.mark.parametrize("width", [62, 63, 74, 120])
def test_a_wide_step_has_its_text_and_its_note_side_by_side(width: int) -> None:
    for line in step_lines(EVERY["verifies"], NOW, width, UNICODE):
        assert [cell_len(text) for text, _ in line] == [2, 14, width - 36, 20]


@pytest.mark.parametrize("width", [17, 36, 61])
def test_a_narrow_step_has_its_note_or_else_its_text(width: int) -> None:
    lines = step_lines(EVERY["verifies"], NOW, width, UNICODE)
    assert {tuple(cell_len(text) for text, _ in line) for line in lines} == {(2, 14, width - 16)}
    if width == 36:
        assert [line[2][0].strip() for line in lines] == [
            "14:05:10",
            "14:05:10",
            "14:05:10",
            "running",
            "new key in the vaul…",
            "old key AKIA…4WQP (…",
            "after 24 h earliest",
        ]


def test_a_step_has_no_text_where_there_is_no_room() -> None:
    assert {line[2][0] for line in step_lines(EVERY["stored"], NOW, 16, UNICODE)} == {""}
    assert {line[2][0] for line in step_lines(EVERY["stored"], NOW, 9, UNICODE)} == {""}


@pytest.mark.parametrize(
    ("width", "roles"),
    [
        (
            74,
            {
                0: ["good", "good", "text", "muted"],
                3: ["working", "working", "text", "working"],
                4: ["muted"] * 4,
            },
        ),
        (36, {0: ["good", "good", "muted"], 3: ["working"] * 3, 4: ["muted"] * 3}),
    ],
)
def test_the_colours_of_a_step(width: int, roles: dict[int, list[str]]) -> None:
    lines = step_lines(EVERY["verifies"], NOW, width, UNICODE)
    assert {nth: [role for _, role in lines[nth]] for nth in roles} == roles


def test_the_steps_are_numbered_from_one() -> None:
    assert [line[1][0].split() for line in step_lines(EVERY["back"], NOW, 74, UNICODE)] == [
        ["1", "Reactivate"], ["2", "Store"], ["3", "Delete"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("height", "head", "gaps", "steps", "shared_with"),
    [
        (20, 2, 4, 7, 1),
        (16, 2, 4, 7, 1),
        (15, 2, 0, 7, 1),
        (12, 2, 0, 7, 1),
        (11, 2, 0, 7, 0),
        (10, 0, 0, 7, 0),
        (9, 0, 0, 7, 0),
        (8, 0, 0, 1, 0),
        (1, 0, 0, 1, 0),
    ],
)
def test_as_much_is_shown_as_there_is_room_for(
    height: int, *, head: int, gaps: int, steps: int, shared_with: int
) -> None:
    lines = [
        line.strip() for line in plain(dialog_lines(EVERY["spreads"], NOW, 74, height, UNICODE)).split("\n")
    ]
    text = "\n".join(lines)
    assert ("Account" in text) is (head > 0)
    assert sum(not line for line in lines) == gaps
    assert (
        sum(any(f"{nth}  {name}" in line for nth, (name, _) in enumerate(FORWARD, 1)) for line in lines)
        == steps
    )
    assert ("Also used by" in text) is (shared_with > 0)
    assert len(lines) == head + gaps + steps + shared_with + 2
    assert "retry in 6 s" in text, "the step that it is at is shown at any height"


@pytest.mark.parametrize("name", ["ready", "refused"])
def test_where_nothing_has_begun_the_key_is_shown_at_any_height(name: str) -> None:
    lines = plain(dialog_lines(EVERY[name], NOW, 74, 1, UNICODE))
    assert lines.startswith("Account 444455556666")
    assert "1  Check" not in lines


def test_no_gap_is_left_where_nobody_else_uses_the_key() -> None:
    alone = replace(EVERY["spreads"], shared_with=())
    assert plain(dialog_lines(alone, NOW, 74, 20, UNICODE)).count("\n\n") == 2


def test_a_finished_rotation_shows_its_last_step_at_any_height() -> None:
    assert "7  Delete" in plain(dialog_lines(EVERY["done"], NOW, 74, 1, UNICODE))


def test_after_drift_nothing_is_said_of_what_the_record_says() -> None:
    lines = plain(dialog_lines(view(Step.STORED, has_drift=True), NOW, 74, 30, UNICODE))
    assert "If you stop here" not in lines
    assert "5  Store" in lines


def test_the_other_profiles_are_muted() -> None:
    lines = dialog_lines(EVERY["stored"], NOW, 74, 30, UNICODE)
    assert {line[0][1] for line in lines if line and line[0][0].startswith("Also")} == {"muted"}
    assert {line[0][1] for line in lines if line and line[0][0].startswith(("If", "Account"))} == {"text"}


# -- owner of the key
# -------------------------------------------------------------------------------------------------

USER = "arn:aws:iam::444455556666:user/team/ci-user"


def head(profile: Profile, **changes: Any) -> str:
    view_shown = replace(RotationView(profile), **changes)
    return " ".join(plain(dialog_lines(view_shown, NOW, 200, 30, UNICODE)).partition("\n\n")[0].split())


def aged(days: int | None, state: RotationState, limit: int | None = 90) -> Profile:
    return replace(DEPLOY, key=Key(OLD, user=USER), rotation=Rotation(state, days, limit))


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        (
            aged(94, RotationState.OVERDUE),
            (
                f"IAM user ci-user, account 444455556666. In use: key {OLD_SHOWN}, 94 days "
                "old. Policy: rotate every 90 days (▲ overdue 4d)."
            ),
        ),
        (
            aged(1, RotationState.OK),
            (
                f"IAM user ci-user, account 444455556666. In use: key {OLD_SHOWN}, 1 day old. "
                "Policy: rotate every 90 days (ok, due 89d)."
            ),
        ),
        (
            aged(0, RotationState.OK),
            (
                f"IAM user ci-user, account 444455556666. In use: key {OLD_SHOWN}, 0 days old. "
                "Policy: rotate every 90 days (ok, due 90d)."
            ),
        ),
        (
            aged(None, RotationState.UNKNOWN),
            (
                f"IAM user ci-user, account 444455556666. In use: key {OLD_SHOWN}. Policy: "
                "rotate every 90 days (unknown)."
            ),
        ),
        (
            replace(aged(2, RotationState.OFF, None), account=None),
            (f"IAM user ci-user, account unknown. In use: key {OLD_SHOWN}, 2 days old. Policy: none (off)."),
        ),
        (
            replace(aged(2, RotationState.OK), key=Key(OLD)),
            (
                f"Account 444455556666. In use: key {OLD_SHOWN}, 2 days old. Policy: rotate "
                "every 90 days (ok, due 88d)."
            ),
        ),
        (
            replace(aged(2, RotationState.OK), key=Key(OLD, user="b" * 60)),
            (
                f"IAM user {'b' * 60}, account 444455556666. In use: key {OLD_SHOWN}, 2 days "
                "old. Policy: rotate every 90 days (ok, due 88d)."
            ),
        ),
        (
            replace(aged(2, RotationState.OK), key=Key(OLD, user="b" * 61)),
            (
                f"IAM user {'b' * 59}…, account 444455556666. In use: key {OLD_SHOWN}, 2 days "
                "old. Policy: rotate every 90 days (ok, due 88d)."
            ),
        ),
        (
            replace(aged(2, RotationState.OK), key=None),
            "Account 444455556666. In use: the old key. Policy: rotate every 90 days.",
        ),
        (
            replace(aged(2, RotationState.OK), key=Key(OLD, user="a/\x1b")),
            (
                f"IAM user \\x1b, account 444455556666. In use: key {OLD_SHOWN}, 2 days old. "
                "Policy: rotate every 90 days (ok, due 88d)."
            ),
        ),
    ],
)
def test_the_head_says_whose_key_it_is_and_how_old(profile: Profile, words: str) -> None:
    assert head(profile) == words


def test_the_head_gives_the_age_of_no_other_key_than_the_one_in_use() -> None:
    # The snapshot still has the old key while the vault has the new one already.
    text = head(aged(94, RotationState.OVERDUE), progress=at(Step.STORED))
    assert f"In use: key {NEW_SHOWN}. Policy: rotate every 90 days." in text


def test_the_head_gives_no_status_while_a_rotation_waits() -> None:
    rotation = Rotation(RotationState.IN_PROGRESS, 94, 90, pending_step="created")
    text = head(replace(DEPLOY, rotation=rotation))
    assert "94 days old. Policy: rotate every 90 days." in text


# -- words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shared_with", "words"),
    [
        ((), ""),
        (("one",), "Also used by: one (switches automatically)."),
        (("one", "two"), "Also used by: one, two (switch automatically)."),
        (("one", "two", "three"), "Also used by: one, two, three (switch automatically)."),
        (("one", "two", "three", "four"), "Also used by: one, two, three and 1 more (switch automatically)."),
        (
            ("one", "two", "three", "four", "five"),
            "Also used by: one, two, three and 2 more (switch automatically).",
        ),
        (("\x1b",), "Also used by: \\x1b (switches automatically)."),
        (("b" * 61,), f"Also used by: {'b' * 59}… (switches automatically)."),
    ],
)
def test_the_other_profiles_that_use_the_key(shared_with: tuple[str, ...], words: str) -> None:
    assert shared_with_text(RotationView(DEPLOY, shared_with=shared_with)) == words
    assert shared_with_text(view(Step.DONE)) == ""


@pytest.mark.parametrize("step", [step for step in Step if step is not Step.INTENT])
def test_if_one_stops_the_key_in_use_is_named(step: Step) -> None:
    view_shown = view(step)
    assert f"{view_shown.in_use} is in use" in state_summary(view_shown)
    assert "{" not in state_summary(view_shown)
    assert state_summary(view_shown).startswith("If you stop here: ") is (
        step not in (Step.DONE, Step.UNDONE)
    )


@pytest.mark.parametrize(
    ("view_shown", "words"),
    [
        (view(), f"deactivates {OLD_SHOWN}"),
        (view(phase=Phase.WAITING), f"{OLD_SHOWN} works and is in use"),
        (view(Step.INTENT), f"{OLD_SHOWN} works and is in use"),
        (view(progress=at(Step.INTENT, orphans=(NEW, OLD))), f"{NEW_SHOWN}, {OLD_SHOWN} exists"),
        (view(progress=at(Step.STORED, is_undoing=True)), f"{OLD_SHOWN} and {NEW_SHOWN} may both exist"),
        (view(progress=at(Step.UNDONE, is_undoing=True)), f"{OLD_SHOWN} is in use, as before"),
        (replace(KEYLESS, progress=None), "deactivates the old key"),
    ],
)  # fmt: skip
def test_what_there_is_if_one_stops(view_shown: RotationView, words: str) -> None:
    assert words in state_summary(view_shown)


def test_the_words_begin_with_a_capital() -> None:
    lost_new = replace(at(Step.DONE), new_id=None)
    assert state_summary(view(progress=lost_new)).startswith("The new key is in use")


# -- keys ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("view_shown", "keys"),
    [
        (view(phase=Phase.RUNNING), {"Esc": "Stop safely"}),
        (view(Step.CREATED, Phase.WAITING), {"Esc": "Stop safely"}),
        (view(Step.DONE, Phase.RUNNING), {"Esc": "Stop safely"}),
        (view(), {"Enter": "Start", "Esc": "Close"}),
        (view(failed=True), {"Enter": "Try again", "Esc": "Close"}),
        (view(Step.CREATED), {"Enter": "Continue", "u": "Undo…", "Esc": "Close"}),
        (view(Step.CREATED, failed=True), {"Enter": "Try again", "u": "Undo…", "Esc": "Close"}),
        (
            view(progress=at(Step.INTENT, orphans=(NEW,), is_undoing=True)),
            {"D": "Delete the lost key…", "Enter": "Check again", "Esc": "Close"},
        ),
        (view(Step.DONE), {"Enter": "Close"}),
        (view(progress=at(Step.UNDONE, is_undoing=True)), {"Enter": "Close"}),
    ],
)
def test_the_keys_and_their_words(view_shown: RotationView, keys: dict[str, str]) -> None:
    assert dict(available_keys(view_shown)) == keys


def test_the_way_back_is_offered_at_every_step_that_has_a_new_key() -> None:
    offered = {step for step in Step if any(key == "u" for key, _ in available_keys(view(step)))}
    assert offered == {Step.CREATED, Step.VERIFIED, Step.STORED, Step.DELIVERED, Step.DEACTIVATED}


def test_the_old_key_can_be_deleted_only_once_it_is_deactivated() -> None:
    offered = {step for step in Step if any(key == "D" for key, _ in available_keys(view(step)))}
    assert offered == {Step.DEACTIVATED}


def test_leaving_twice_leaves_the_operation_to_end() -> None:
    (first,), (second,) = (
        available_keys(view(phase=Phase.RUNNING, is_stopping=stop)) for stop in (False, True)
    )
    assert first[0] == second[0] == "Esc"
    assert first[1] != second[1]
