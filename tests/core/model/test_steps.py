"""Steps: what is reported, and where an operation stops."""

from __future__ import annotations

from keyturn.model.steps import UNWATCHED, Step, Steps


def test_each_name_is_reported_before_it_and_the_end_after_all() -> None:
    seen: list[Step] = []
    assert list(Steps(seen.append).each("adopting", ["a", "b"])) == ["a", "b"]
    assert seen == [Step("adopting", 0, 2, "a"), Step("adopting", 1, 2, "b"), Step("adopting", 2, 2)]


def test_a_stop_ends_it_between_two_names() -> None:
    done: list[str] = []
    for name in Steps(is_stopped=lambda: len(done) == 2).each("adopting", ["a", "b", "c"]):
        done.append(name)  # noqa: PERF402  # the condition looks at it
    assert done == ["a", "b"]


def test_what_must_not_stop_goes_to_the_end() -> None:
    seen: list[Step] = []
    assert list(Steps(seen.append, lambda: True).show("verifying", ["a", "b"])) == ["a", "b"]
    assert seen[-1] == Step("verifying", 2, 2)


def test_nobody_needs_to_watch() -> None:
    assert list(UNWATCHED.each("adopting", ["a"])) == ["a"]
