"""The agent answers any input of its user's programs with a typed error, keeps running, and a good client
gets its document."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keyturn.agent import rpc_client
from keyturn.model import errors
from tests.core.agent.hostile_client import ODD_VALUES, good_client, hostile_clients, requests, send
from tests.core.agent.signed_requests import ROLE, set_up_role
from tests.end_to_end.person import Person, new_person

Record = Callable[[str, object], None]
#: Seconds, for a machine that is busy with other tests; an idle one needs a tenth (see the recorded figure).
MAX_SECONDS = 3.0
#: Operations that do nothing to an existing profile without a further argument, which is then malformed.
NEED_ARGUMENTS = ("hand", "deliver", "adopt", "release")


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    with new_person(tmp_path_factory.mktemp("attacked")) as user:
        set_up_role(user)
        yield user


def writable_files(person: Person) -> dict[str, bytes | None]:
    """Return the files that an operation with hostile arguments could have written: the user's files, and
    names beside them."""
    home, folder = person.sandbox.home, person.sandbox.folder
    found: dict[str, bytes | None] = {
        str(path): path.read_bytes() if path.is_file() else None for path in sorted(home.rglob("*"))
    }
    for place in (folder, Path("/"), Path("/etc"), folder / "keyturn"):
        found |= {str(path): None for path in place.iterdir() if str(path) not in found}
    return found


def reply_type(answer: bytes) -> str:
    """Return the error type that a reply carries, or `result` or `nothing`; fail for any other reply."""
    if not answer:
        return "nothing"
    assert answer.count(b"\n") == 1
    assert answer.endswith(b"\n")
    reply = json.loads(answer)
    if reply["ok"]:
        return "result"
    kind: str = reply["error"]["type"]
    assert issubclass(getattr(errors, kind), errors.KeyturnError)
    assert "unforeseen" not in reply["error"]["line"], reply
    return kind


def plaintext_files(person: Person) -> str:
    """Return everything that keyturn writes in plaintext."""
    state = person.sandbox.folder / "keyturn" / "state"
    return "".join(path.read_text() for path in sorted(state.glob("*.log*")) + sorted(state.glob("*.jsonl")))


@pytest.mark.parametrize("size", [60_000, pytest.param(1_000_000, marks=pytest.mark.campaign)])
@pytest.mark.timeout(900)
def test_random_and_mutated_requests_beside_bad_company(
    person: Person, size: int, record_property: Record
) -> None:
    pid = rpc_client.call(person.socket, {"op": "status"})["pid"]
    before = writable_files(person)
    counts: dict[str, int] = {}
    total = 0
    with hostile_clients(person.socket, 300), good_client(person.socket, ROLE) as good:
        for request in requests(random.Random(size)):  # noqa: S311 - the same each time
            if total >= size:
                break
            kind = reply_type(send(person.socket, request))
            counts[kind] = counts.get(kind, 0) + 1
            total += len(request)
    assert rpc_client.call(person.socket, {"op": "status"})["pid"] == pid
    assert writable_files(person) == before
    assert good.failed == []
    assert len(good.documents) == 1
    assert max(good.seconds) < MAX_SECONDS
    text = plaintext_files(person)
    assert "Traceback" not in text
    assert "unforeseen" not in text
    assert "unexpected error" not in text
    for word in json.loads(good.documents.pop()).values():
        assert not isinstance(word, str) or len(word) < 30 or word not in text
    assert {"result", "nothing", "UsageError", "AgentUnavailable"} <= set(counts)
    within = sum(acquired <= 0.1 for acquired in good.seconds)
    record_property(
        f"agent: {total} hostile bytes in {sum(counts.values())} requests, a good client meanwhile",
        f"{len(good.seconds)} answers, worst {1000 * max(good.seconds):.0f} ms, {within} within 100 ms",
    )


@pytest.mark.parametrize(
    "operation",
    ["refresh", "document", "hand", "deliver", "stop", "adopt", "plan-release", "release", "mfa-devices"],
)
def test_each_operation_refuses_arguments_of_any_type_in_words(person: Person, operation: str) -> None:
    before = writable_files(person)
    for value in ODD_VALUES:
        of_all = dict.fromkeys(("name", "names", "digest", "to", "code"), value)
        known = {"name": ROLE, "names": [ROLE], "digest": value, "to": value, "least_seconds": value}
        for args in (of_all, {**of_all, "files": value}, known if operation in NEED_ARGUMENTS else {}):
            line = json.dumps({"v": 1, "op": "run", "act": operation, "args": args}).encode() + b"\n"
            reply_type(send(person.socket, line))
    assert writable_files(person) == before
    assert "unforeseen" not in plaintext_files(person)
    assert "unexpected error" not in plaintext_files(person)
