"""Protocol constants and encoders for the fast path. Nothing here imports a JSON module unless it must,
because the import costs start-up time."""

from __future__ import annotations

VERSION = 1
#: Number of this build in the status, so that an unlock replaces an agent of another one. Raise it with each
#: release. The first release sent none, which counts as 0.
BUILD = 1
REQUEST_LIMIT = 1 << 20
ANSWER_LIMIT = 16 << 20

#: A successful answer to `credential-process` is `RESULT_START`, the document, and `DOCUMENT_END`.
RESULT_START = b'{"ok":true,"result":'
DOCUMENT_END = b"}\n"

#: Request line that checks for a running agent.
STATUS_REQUEST = f'{{"v":{VERSION},"op":"status"}}\n'.encode("ascii")


def document_request(profile: str) -> bytes:
    """Return the request line for the credential document of `profile`."""
    if profile.isascii() and profile.isprintable() and '"' not in profile and "\\" not in profile:
        quoted = f'"{profile}"'
    else:
        import json

        quoted = json.dumps(profile)
    return f'{{"v":{VERSION},"op":"credential-process","profile":{quoted}}}\n'.encode("ascii")


def document_in(answer: bytes) -> bytes | None:
    """Return the credential document in `answer`, byte for byte, or None for an error or an incomplete
    answer."""
    if answer.startswith(RESULT_START) and answer.endswith(DOCUMENT_END):
        return answer[len(RESULT_START) : -len(DOCUMENT_END)]
    return None
