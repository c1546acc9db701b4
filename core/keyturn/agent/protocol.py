"""Protocol of the agent's socket: one JSON line per request and per answer. Errors keep their class.

A request is an object with `v`, `op` and the fields of that op::

    {"v": 1, "op": "status"}                                   pid, version, build, open_since, open_until,
                                                               generation, paused, wait_seconds (that a
                                                               running operation may still wait for a program
                                                               of the user; 0 if none does)
    {"v": 1, "op": "pause"}                                    no auto-renewal until `resume`; the status
    {"v": 1, "op": "resume"}                                   auto-renewal again; the status
    {"v": 1, "op": "lock"}                                     answered, then the process exits
    {"v": 1, "op": "credential-process", "profile": "NAME"}    the credential document; over the forwarded
                                                               socket with optional `least`, the minimum
                                                               remaining lifetime in seconds
    {"v": 1, "op": "run", "act": "NAME", "args": {...}}        an operation that needs the identity

`run` may have `"steps": true`. The agent then sends any number of step lines before its answer::

    {"step":{"doing":"adopting","done":3,"total":100,"name":"ci"}}

and the client stops the operation between two profiles by closing its sending direction; it still gets the
answer. An agent that does not know steps sends none.

The last two may have `env`, an object with the caller's variables that decide how AWS is reached
(:mod:`keyturn.system.caller_variables`). Without it the agent's own count, as an older client expects.

The forwarded socket answers only `credential-process` and `status`, and there the status is the version
alone. `env` is not taken there, because another machine decides nothing about how AWS is reached from here.

An answer is `{"ok":true,"result":...}` or `{"ok":false,"error":{...}}`, in exactly this order and without
spaces, because the fast path cuts the document out of it by length. Field names and error names are a format:
they do not follow renames in the code.

The `hint` of an error is a sentence with commands. `remedy` lists its parts in order, each a text or a
command as `{"operation": "rotate", "profile": "NAME", "flag": "--undo"}`; it is empty for a hint without
commands. A version that does not know `remedy` sends and reads `hint` alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from keyturn.agent import wire
from keyturn.agent.build import build
from keyturn.agent.wire import ANSWER_LIMIT, DOCUMENT_END, REQUEST_LIMIT, RESULT_START, VERSION
from keyturn.model import errors
from keyturn.model.errors import (
    RUN,
    AgentUnavailable,
    Hint,
    KeyturnError,
    NeedsInteraction,
    Parts,
    Remedy,
    UsageError,
    words,
)
from keyturn.model.json_codec import from_table, to_table
from keyturn.model.secret import Secret
from keyturn.model.steps import Step
from keyturn.model.text import from_iso
from keyturn.system.caller_environment import CallerEnvironment
from keyturn.system.clock import system_clock

#: Prefix of the vault's identity. The identity enters the agent through a pipe and must not leave it in any
#: answer.
_IDENTITY_PREFIX = b"AGE-SECRET-KEY-"
#: Characters of an error attribute other than what, why and hint.
_MAX_EXTRA_LENGTH = 4096
#: Characters; profile names are much shorter.
_MAX_NAME_LENGTH = 1024
#: Seconds; the maximum lifetime of temporary credentials (36 h, GetSessionToken).
_MAX_LIFETIME_SECONDS = 129_600
#: Hint for an agent that runs but is of no use.
RESTART_HINT: Parts = (RUN, Remedy("agent stop"), " && ", Remedy("vault unlock"))
_TEXT_FIELDS = ("what", "why", "hint")
#: Wire names of the error classes that have another name in the code. An error's name on the wire is a
#: format: it must not change, because client and agent may be of different versions of keyturn.
_WIRE_NAMES: Mapping[type[KeyturnError], str] = {
    errors.NeedsInteraction: "NeedsPerson",
    errors.ChangeRefused: "Protected",
    errors.WriteNotConfirmed: "Unconfirmed",
    errors.NoResponse: "Unanswered",
}
#: Members of every document with temporary credentials; `AccountId` is optional.
_DOCUMENT_FIELDS = ("Version", "AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")


@dataclass(frozen=True, slots=True)
class Request:
    """A validated request."""

    op: str
    """One of those in the docstring of this module."""
    profile: str = ""
    """Of `credential-process`."""
    least_seconds: int | None = None
    """Minimum remaining lifetime. Of `credential-process` over the forwarded socket."""
    act: str = ""
    """Name of the operation. Of `run`."""
    args: Mapping[str, object] | None = None
    """Of `run`."""
    caller: CallerEnvironment | None = None
    """Of `credential-process` and `run`, None if the client sent none."""
    has_steps: bool = False
    """The client reads step lines. Of `run`."""


@dataclass(frozen=True, slots=True)
class Agent:
    """Status of a running agent."""

    pid: int
    paused: bool
    """Auto-renewal is paused."""
    build: int
    """Build of keyturn that it runs (:mod:`keyturn.agent.build`); 0 for the first release, which sends
    none."""

    @property
    def is_current(self) -> bool:
        """Return True if it runs this build of keyturn."""
        return self.build == build()


def request_line(op: str, **fields: object) -> bytes:
    """Return the request line for `op` with the `fields` of the module's table.

    :raises UsageError: if it is too long or cannot be written as JSON.
    """
    try:
        line = json.dumps({"v": VERSION, "op": op, **fields}, separators=(",", ":")).encode() + b"\n"
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"Could not send {op} to the agent", "the request cannot be written as JSON"
        ) from error
    if len(line) > REQUEST_LIMIT:
        raise UsageError(f"Could not send {op} to the agent", "the request is longer than 1 MiB")
    return line


def parse_request(line: bytes, *, is_remote: bool = False) -> Request:
    """Return the request in `line`.

    :param is_remote: it came over the forwarded socket.
    :raises UsageError: if it is not a valid request.
    :raises AgentUnavailable: for another protocol version, so that an older or newer client continues without
        an agent.
    """
    record = _object(line, "Invalid request to the agent")
    if record.get("v") != VERSION:
        raise AgentUnavailable(
            "Agent has another version",
            f"it uses version {VERSION} of the protocol, the client another",
            (RUN, Remedy("agent stop"), ". The next unlock starts the new version."),
        )
    match record:
        case {"op": "status" | "pause" | "resume" | "lock" as op}:
            return Request(op)
        case {"op": "credential-process", "profile": str(profile)} if 0 < len(profile) <= _MAX_NAME_LENGTH:
            least_seconds = _parse_seconds(record.get("least"))
            caller = None if is_remote else _parse_caller(record)
            return Request("credential-process", profile=profile, least_seconds=least_seconds, caller=caller)
        case {"op": "run", "act": str(act), "args": dict(args)} if act:
            return Request(
                "run", act=act, args=args, caller=_parse_caller(record), has_steps=record.get("steps") is True
            )
        case _:
            raise UsageError("Invalid request to the agent", "unknown operation or missing field")


def _parse_caller(record: Mapping[str, Any]) -> CallerEnvironment | None:
    return CallerEnvironment.parse(record["env"]) if "env" in record else None


def _parse_seconds(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_LIFETIME_SECONDS:
        raise UsageError("Invalid request to the agent", "`least` is no valid number of seconds")
    return value


def require_forwardable(request: Request) -> None:
    """Check that the forwarded socket answers this request.

    :raises UsageError: if it does not.
    """
    if request.op not in ("status", "credential-process"):
        raise UsageError(f"Request {request.op} refused", "it is not allowed over a forwarded socket")


def result_line(result: object) -> bytes:
    """Return the answer line with `result`."""
    return _finish_answer(json.dumps(result, separators=(",", ":"), default=_reject_value).encode())


def step_line(step: Step) -> bytes:
    """Return the line that reports a step of an operation."""
    return wire.STEP_START + json.dumps(to_table(step), separators=(",", ":")).encode() + DOCUMENT_END


def parse_step(line: bytes) -> Step | None:
    """Return the step in `line`, or None if it holds none that this version can read."""
    try:
        return from_table(Step, _object(line, "Invalid step from the agent")["step"])
    except (KeyturnError, KeyError, TypeError, ValueError, AttributeError):
        return None


def document_line(document: str) -> bytes:
    """Return the answer line with a finished JSON `document`, byte for byte.

    :raises ValueError: if `document` is not a JSON object on one line.
    """
    if "\n" in document or "\r" in document or not isinstance(json.loads(document), dict):
        raise ValueError("a credential document is one JSON object on one line")
    return _finish_answer(document.encode())


def error_line(error: KeyturnError) -> bytes:
    """Return the answer line with `error` and the attributes of its class."""
    line = json.dumps({"ok": False, "error": error_to_json(error)}, separators=(",", ":")).encode()
    if _IDENTITY_PREFIX in line.upper():
        return error_line(
            type(error)("Request failed", "the error text contains what looks like the vault's identity")
        )
    return _check_answer(line) + b"\n"


def parse_answer(line: bytes) -> Any:
    """Return the result in `line`.

    :raises KeyturnError: the error in `line`.
    :raises AgentUnavailable: if `line` is not a valid answer.
    """
    match _object(line, "Invalid answer from the agent", AgentUnavailable):
        case {"ok": True, "result": result}:
            return result
        case {"ok": False, "error": dict(error)}:
            raise error_from_json(error)
        case _:
            raise AgentUnavailable("Invalid answer from the agent", "unknown format")


def temporary_document(line: bytes) -> str:
    """Return the credential document in an answer from another machine. Such an answer is not trusted beyond
    that: an error keeps its text, but never prompts the user here and keeps only the exit codes of the
    README.

    :raises AgentUnavailable: if it has no temporary credentials that are valid now.
    """
    try:
        result = parse_answer(line)
    except NeedsInteraction as error:
        raise NeedsInteraction(error.what, error.why, error.hint_parts) from None
    except KeyturnError as error:
        error.exit_code = type(error).exit_code
        raise
    match result:
        case {
            "Version": 1,
            "AccessKeyId": str(key),
            "SecretAccessKey": str(secret),
            "SessionToken": str(token),
            "Expiration": str(expires),
        } if key and secret and token:
            expires_at = from_iso(expires)
        case _:
            expires_at = None
    if expires_at is None or expires_at <= system_clock():
        raise AgentUnavailable(
            "Invalid answer over the forwarded socket",
            "it has no temporary credentials that are valid now",
            "Compare the clocks of both machines, and check which agent is at the other end.",
        )
    fields = (
        (*_DOCUMENT_FIELDS, "AccountId") if isinstance(result.get("AccountId"), str) else _DOCUMENT_FIELDS
    )
    return json.dumps({field: result[field] for field in fields} | {"Version": 1})


def error_to_json(error: KeyturnError) -> dict[str, object]:
    """Return `error` as a JSON object: its wire name, exit code, full line, three texts, the parts of a
    hint with commands, and the scalar attributes of its class. Attributes of type Secret are left out."""
    extra = {
        name: value[:_MAX_EXTRA_LENGTH] if isinstance(value, str) else value
        for name, value in vars(error).items()
        if name not in _TEXT_FIELDS and isinstance(value, str | int | float)
    }
    return {
        "type": _wire_name(type(error)),
        "exit": error.exit_code,
        "line": error.line(),
        "what": error.what,
        "why": error.why,
        "hint": error.hint,
        "remedy": [part if isinstance(part, str) else to_table(part) for part in error.hint_parts]
        if error.remedies
        else [],
        "extra": extra,
    }


def error_from_json(record: Mapping[str, Any]) -> KeyturnError:
    """Return the error that :func:`error_to_json` serialized. A class that this version does not know becomes
    a KeyturnError with the same exit code."""
    error_class = _error_types().get(str(record.get("type")), KeyturnError)
    what, why, text = (str(record.get(field) or "") for field in _TEXT_FIELDS)
    error = error_class(
        what or "Request to the agent failed", why, _hint_from_json(record.get("remedy", ()), text)
    )
    exit_code = record.get("exit")
    if error_class is KeyturnError and isinstance(exit_code, int) and 1 < exit_code < 256:
        error.exit_code = exit_code
    extra = record.get("extra")
    for name, value in extra.items() if isinstance(extra, dict) else ():
        if name not in _TEXT_FIELDS and type(vars(error).get(name)) is type(value):
            setattr(error, name, value)
    return error


def _hint_from_json(remedy: Any, text: str) -> Hint:
    """Return the hint in parts, or its text if they do not add up to it: the sender has another version."""
    try:
        parts = tuple(part if isinstance(part, str) else from_table(Remedy, part) for part in remedy)
    except (KeyError, TypeError):
        return text
    return parts if words(parts) == text else text


def _error_types() -> dict[str, type[KeyturnError]]:
    def subclasses(error_class: type[KeyturnError]) -> Iterator[type[KeyturnError]]:
        yield error_class
        for subclass in error_class.__subclasses__():
            yield from subclasses(subclass)

    return {_wire_name(error_class): error_class for error_class in subclasses(errors.KeyturnError)}


def _wire_name(error_class: type[KeyturnError]) -> str:
    return _WIRE_NAMES.get(error_class, error_class.__name__)


def _object(line: bytes, subject: str, error_class: type[KeyturnError] = UsageError) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise error_class(subject, "not one line of JSON") from error
    if not isinstance(record, dict):
        raise error_class(subject, "not a JSON object")
    return record


def _finish_answer(result: bytes) -> bytes:
    return _check_answer(RESULT_START + result + DOCUMENT_END)


def _check_answer(line: bytes) -> bytes:
    if _IDENTITY_PREFIX in line.upper():
        raise ValueError("an answer contains the vault's identity")
    if len(line) > ANSWER_LIMIT:
        raise ValueError("an answer is longer than the limit")
    return line


def _reject_value(value: object) -> object:
    type_name = "a secret" if isinstance(value, Secret) else f"a {type(value).__name__}"
    raise TypeError(f"{type_name} cannot be sent over the socket")
