"""The list of mutations fits the source, so that the runner can apply each one."""

from __future__ import annotations

import ast
import textwrap
from collections import Counter
from pathlib import Path

import pytest

from tests.benchmarks.mutations.__main__ import main
from tests.benchmarks.mutations.judge import Tree, Verdict
from tests.benchmarks.mutations.mutation import ROOT, Mutation, load, locate

SOURCE = """\
class Door:
    def is_open(self) -> bool:
        return self.angle > 0 and not self.locked


class Window:
    def is_open(self) -> bool:
        return self.is_tilted(
            self.pane.angle, self.pane.locked,
        )
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a tree whose core has one module, `house`."""
    package = tmp_path / "core" / "keyturn"
    package.mkdir(parents=True)
    (package / "house.py").write_text(SOURCE)
    return tmp_path


def mutation(function: str, before: str, after: str = "None") -> Mutation:
    return Mutation("house-1", "house", function, before, after)


def test_each_entry_of_the_list_changes_one_place_of_the_source() -> None:
    """After a refactoring, update the entries that this names."""
    faults = []
    for entry in load().mutations:
        try:
            place = locate(entry, ROOT)
            ast.parse(textwrap.dedent("".join(place.mutated(entry))))
        except (LookupError, SyntaxError) as error:
            faults.append(f"{entry.id}: {error}")
        else:
            if place.mutated(entry) == place.lines:
                faults.append(f"{entry.id}: it changes nothing")
    assert not faults, "update tests/benchmarks/mutations/mutations.toml: " + "; ".join(faults)


def test_sixty_mutations_are_listed_each_under_its_own_id_and_place() -> None:
    mutations = load().mutations
    assert len({entry.id for entry in mutations}) == len(mutations) == 60
    places = Counter((locate(entry, ROOT).file, entry.function, entry.before) for entry in mutations)
    assert max(places.values()) == 1


def test_each_area_has_tests_that_exist() -> None:
    areas = load()
    assert {entry.area for entry in areas.mutations} == set(areas.tests) == set(areas.earlier_tests)
    paths = [path for stages in areas.tests.values() for stage in stages for path in stage]
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (mutation("shut", "x"), "there is no function shut"),
        (mutation("is_open", "self.width"), "0 times"),
        (mutation("Window.is_open", "pane"), "2 times"),
        (mutation("is_open", "-> bool"), "several functions match"),
    ],
)
def test_an_entry_that_does_not_fit_is_named_with_the_reason(tree: Path, entry: Mutation, why: str) -> None:
    with pytest.raises(LookupError, match=f"entry house-1 .*{why}"):
        locate(entry, tree)


@pytest.mark.parametrize("name", ["is_open", "Door.is_open"])
def test_a_mutation_changes_its_function_alone(tree: Path, name: str) -> None:
    entry = mutation(name, "not self.locked", "self.locked")
    assert locate(entry, tree).mutated_file(entry) == SOURCE.replace("not self.locked", "self.locked")


def test_a_fragment_matches_in_any_layout(tree: Path) -> None:
    entry = mutation("is_open", "self.is_tilted(self.pane.angle, self.pane.locked)", "False")
    assert "        return False\n" in locate(entry, tree).mutated_file(entry)


def test_an_unknown_name_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "house"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_quick_tests_begin_with_those_of_the_area(tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci" / "quick-tests").write_text(
        "# why\ntests/core/model\n\n!tests/core/model/slow.py\ntests/tui\n"
    )
    stages = Tree(tmp_path).quick_stages([["tests/core/model/test_text.py"], ["tests/core/vault"]])
    left_out = "--ignore=tests/core/model/slow.py"
    assert stages == [["tests/core/model/test_text.py", left_out], ["tests/core/model", left_out]]


def test_a_test_that_fails_without_the_mutation_kills_nothing() -> None:
    verdict = Verdict("house-1", "house", "house.py", "killed", 1.0, "test_house.py::test_it")
    assert verdict.checked({"another"}) == verdict
    assert verdict.checked({verdict.test}).outcome == "not judged"
