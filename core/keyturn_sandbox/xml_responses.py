"""XML responses of the query protocol, in the form that botocore parses."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from xml.sax.saxutils import escape

from keyturn.model.secret import Secret
from keyturn.model.text import iso
from keyturn_sandbox.aws_errors import Refusal

Value = str | int | bool | datetime | Secret | None | Mapping[str, "Value"] | Sequence["Value"]
Result = Mapping[str, Value]

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def success(action: str, namespace: str, result: Result | None, request_id: str) -> bytes:
    """Return the response of `action`; `result` is None for an action without output."""
    inner = "" if result is None else f"<{action}Result>{_members(result)}</{action}Result>"
    return (
        f'<{action}Response xmlns="{namespace}">{inner}'
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{action}Response>"
    ).encode()


def failure(refusal: Refusal, namespace: str, request_id: str) -> bytes:
    """Return the error response."""
    return (
        f'<ErrorResponse xmlns="{namespace}"><Error>'
        f"<Type>{'Sender' if refusal.status < 500 else 'Receiver'}</Type>"
        f"<Code>{_text(refusal.code)}</Code><Message>{_text(refusal.message)}</Message></Error>"
        f"<RequestId>{request_id}</RequestId></ErrorResponse>"
    ).encode()


def _members(values: Result) -> str:
    return "".join(f"<{name}>{_value(value)}</{name}>" for name, value in values.items() if value is not None)


def _value(value: Value) -> str:
    match value:
        case bool():
            xml = "true" if value else "false"
        case str() | int():
            xml = _text(str(value))
        case datetime():
            xml = iso(value) or ""
        case Secret():
            xml = _text(value.reveal())
        case Mapping():
            xml = _members(value)
        case None:
            xml = ""
        case _:
            xml = "".join(f"<member>{_value(one)}</member>" for one in value)
    return xml


def _text(text: str) -> str:
    return escape(_NOT_XML.sub("\ufffd", text))
