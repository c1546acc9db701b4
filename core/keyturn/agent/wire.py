"""Protocol constants and encoders for the fast path. Nothing here imports a JSON module unless it must,
because the import costs start-up time."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = 1
REQUEST_LIMIT = 1 << 20
ANSWER_LIMIT = 16 << 20

#: A successful answer to `credential-process` is `RESULT_START`, the document, and `DOCUMENT_END`.
RESULT_START = b'{"ok":true,"result":'
DOCUMENT_END = b"}\n"
#: A line that reports a step of a long operation is `STEP_START`, the step, and `DOCUMENT_END`.
STEP_START = b'{"step":'

#: Request line that checks for a running agent.
STATUS_REQUEST = f'{{"v":{VERSION},"op":"status"}}\n'.encode("ascii")


def document_request(profile: str, variables: Mapping[str, str] | None = None) -> bytes:
    """Return the request line for the credential document of `profile`.

    :param variables: the caller's, see :func:`keyturn.system.caller_variables.caller_variables`. Without
        them the agent's own count.
    """
    env = ""
    if variables is not None:
        env = ",".join(f"{_quoted(name)}:{_quoted(value)}" for name, value in variables.items())
        env = f',"env":{{{env}}}'
    line = f'{{"v":{VERSION},"op":"credential-process","profile":{_quoted(profile)}{env}}}\n'
    return line.encode("ascii")


def _quoted(text: str) -> str:
    """Return `text` as an ASCII JSON string."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    import json

    return json.dumps(text)


def document_in(answer: bytes) -> bytes | None:
    """Return the credential document in `answer`, byte for byte, or None for an error or an incomplete
    answer."""
    if answer.startswith(RESULT_START) and answer.endswith(DOCUMENT_END):
        return answer[len(RESULT_START) : -len(DOCUMENT_END)]
    return None
