"""The few facts of the protocol that the fast path needs, without a JSON module."""

from __future__ import annotations

VERSION = 1
REQUEST_LIMIT = 1 << 20
ANSWER_LIMIT = 16 << 20

#: An answer to a `credential-process` that went well is this, the document, and `DOCUMENT_END`.
RESULT_START = b'{"ok":true,"result":'
DOCUMENT_END = b"}\n"

#: The line that asks whether the agent is there.
STATUS_REQUEST = f'{{"v":{VERSION},"op":"status"}}\n'.encode("ascii")


def document_request(profile: str) -> bytes:
    """The line that asks for the credential document of `profile`."""
    if profile.isascii() and profile.isprintable() and '"' not in profile and "\\" not in profile:
        quoted = f'"{profile}"'
    else:
        import json

        quoted = json.dumps(profile)
    return f'{{"v":{VERSION},"op":"credential-process","profile":{quoted}}}\n'.encode("ascii")


def document_in(answer: bytes) -> bytes | None:
    """The credential document of `answer`, byte for byte; None for an error or a torn answer."""
    if answer.startswith(RESULT_START) and answer.endswith(DOCUMENT_END):
        return answer[len(RESULT_START) : -len(DOCUMENT_END)]
    return None
