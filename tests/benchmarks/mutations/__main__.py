"""Apply each mutation of `mutations.toml` to a copy of the tree, and print which ones the tests notice.

    .venv/bin/python -m tests.benchmarks.mutations [--quick] [--only WORD] [--revision REVISION] [--json FILE]

A mutation is killed if a test of its area fails or runs into the time limit. All tests of an area must pass
without a mutation first, and at the end the tests that failed once more. `--quick` judges only the mutations
of pure modules, and only by the tests of `.ci/quick-tests` for the core. `--revision` judges the mutations
of an earlier tree by the tests of that tree. A mutation that survives takes minutes, because all tests of
its area run.
"""
# ruff: noqa: T201 - a program that prints its result

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from tests.benchmarks.mutations import judge
from tests.benchmarks.mutations.judge import Verdict
from tests.benchmarks.mutations.mutation import ROOT, Mutation, MutationList, Place, load, locate


def main(words: list[str] | None = None) -> int:
    """Judge the chosen mutations; return 1 if one survived, 2 if one could not be judged."""
    options = _parser().parse_args(words)
    try:
        return _run(options)
    except KeyboardInterrupt:
        return 130
    except (LookupError, judge.NotJudged, OSError) as error:
        print(f"mutations: {error.args[0] if isinstance(error, LookupError) else error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mutations", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", metavar="WORD", action="append", default=[], help="an area or an id, or its beginning"
    )
    parser.add_argument("--quick", action="store_true", help="pure modules, by .ci/quick-tests alone")
    parser.add_argument(
        "--revision", metavar="REVISION", help="a git revision instead of the files as they are"
    )
    parser.add_argument("--list", action="store_true", help="print the chosen mutations and where they are")
    parser.add_argument(
        "--jobs", metavar="N", type=_positive, default=1, help="trees at the same time (default 1)"
    )
    parser.add_argument(
        "--limit", metavar="SECONDS", type=_positive, default=900, help="per pytest run (default 900)"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the verdicts to FILE")
    return parser


def _positive(word: str) -> int:
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"{word} is not a number above 0")
    return int(word)


def _run(options: argparse.Namespace) -> int:
    mutations = load()
    chosen = _chosen(mutations, options.only)
    # Beside the repository, because keyturn refuses to run from the folder for temporary files.
    with tempfile.TemporaryDirectory(prefix="keyturn-mutations-", dir=ROOT.parent) as folder:
        trees = [judge.Tree(Path(folder, str(number))) for number in range(options.jobs)]
        for tree in trees:
            tree.fill(ROOT, options.revision)
        places = _located(chosen, trees[0], options)
        if options.list:
            for mutation, place in places:
                file = place.file.relative_to(trees[0].root)
                print(f"{mutation.id:13} {file}:{place.start + 1} {mutation.function}")
                print(f"{'':14}{mutation.before}\n{'':11}-> {mutation.after}")
            return 0
        by_area = mutations.tests if options.revision is None else mutations.earlier_tests
        stages = {
            area: trees[0].quick_stages(by_area[area]) if options.quick else by_area[area]
            for area in dict.fromkeys(mutation.area for mutation, _ in places)
        }
        broken = {area: _failure_without_mutation(area, stages[area], trees[0], options) for area in stages}
        verdicts = _judge(places, stages, broken, trees, options)
        _write(verdicts, options)
        killers = {verdict.test for verdict in verdicts if "::" in verdict.test}
        unsound = trees[0].failures(killers, options.limit)
    verdicts = [verdict.checked(unsound) for verdict in verdicts]
    _write(verdicts, options)
    _print_totals(verdicts)
    if any(verdict.outcome == "not judged" for verdict in verdicts):
        return 2
    return int(any(verdict.outcome == "survived" for verdict in verdicts))


def _failure_without_mutation(
    area: str, stages: Sequence[Sequence[str]], tree: judge.Tree, options: argparse.Namespace
) -> str | None:
    """Return the test of an area that fails without a mutation, so that none of the area can be judged."""
    try:
        failure = tree.first_failure(stages, options.limit)
    except judge.NotJudged as error:
        failure = str(error)
    print(f"{area}: without a mutation " + (f"fails {failure}" if failure else "all tests pass"), flush=True)
    return failure


def _write(verdicts: list[Verdict], options: argparse.Namespace) -> None:
    if options.json:
        options.json.write_text(json.dumps([verdict.table() for verdict in verdicts], indent=1) + "\n")


def _chosen(mutations: MutationList, only: list[str]) -> list[Mutation]:
    for word in only:
        if not any(_fits(mutation, word) for mutation in mutations.mutations):
            areas = ", ".join(mutations.tests)
            raise LookupError(f"no mutation is named {word}; areas: {areas}; --list prints the ids")
    return [
        mutation
        for mutation in mutations.mutations
        if not only or any(_fits(mutation, word) for word in only)
    ]


def _fits(mutation: Mutation, word: str) -> bool:
    return mutation.area == word or mutation.id.startswith(word)


def _located(
    chosen: list[Mutation], tree: judge.Tree, options: argparse.Namespace
) -> list[tuple[Mutation, Place]]:
    """Return each mutation with its place in the tree; of pure modules only where that is asked."""
    if options.revision is not None:
        chosen = [mutation.earlier() for mutation in chosen]
    places = [(mutation, locate(mutation, tree.root)) for mutation in chosen]
    if not options.quick:
        return places
    pure = tree.pure_modules()
    return [(mutation, place) for mutation, place in places if tree.module(place.file).startswith(pure)]


def _judge(
    places: list[tuple[Mutation, Place]],
    stages: Mapping[str, Sequence[Sequence[str]]],
    broken: Mapping[str, str | None],
    trees: list[judge.Tree],
    options: argparse.Namespace,
) -> list[Verdict]:
    free: SimpleQueue[judge.Tree] = SimpleQueue()
    for tree in trees:
        free.put(tree)

    def judge_one(found: tuple[Mutation, Place]) -> Verdict:
        mutation, place = found
        file, area = place.file.relative_to(trees[0].root), mutation.area
        failure = broken[area]
        if failure is not None:
            reason = f"{failure} fails without a mutation"
            return Verdict(mutation.id, area, str(file), "not judged", 0.0, reason)
        tree = free.get()
        try:
            verdict = tree.judge(mutation, file, stages[area], options.limit)
        finally:
            free.put(tree)
        print(f"{mutation.id:13} {verdict.outcome:10} {verdict.seconds:6.1f} s  {verdict.test}", flush=True)
        return verdict

    with ThreadPoolExecutor(len(trees)) as pool:
        try:
            return list(pool.map(judge_one, places))
        except BaseException:
            for tree in trees:
                tree.stop()
            raise


def _print_totals(verdicts: list[Verdict]) -> None:
    for area in dict.fromkeys(verdict.area for verdict in verdicts):
        _print_total(area, [verdict for verdict in verdicts if verdict.area == area])
    _print_total("all", verdicts)


def _print_total(title: str, verdicts: list[Verdict]) -> None:
    killed = sum(verdict.outcome == "killed" for verdict in verdicts)
    missed = ", ".join(verdict.id for verdict in verdicts if verdict.outcome != "killed")
    print(f"{title}: {killed} of {len(verdicts)} killed" + (f"; not: {missed}" if missed else ""))


if __name__ == "__main__":
    # So that a run that is ended removes its trees.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
