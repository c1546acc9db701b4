"""A record of every secret that the AWS stand-in makes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from keyturn.model.secret import Secret
from keyturn_sandbox.id_generator import IdGenerator


@contextmanager
def record_secrets() -> Iterator[list[Secret]]:
    """Yield the list of all secrets and tokens made by sandboxes of this process inside the block; it keeps
    growing."""
    secrets: list[Secret] = []
    before = IdGenerator.secret, IdGenerator.session_token

    def secret(self: IdGenerator) -> Secret:
        secrets.append(before[0](self))
        return secrets[-1]

    def session_token(self: IdGenerator, least: int = 0) -> Secret:
        secrets.append(before[1](self, least))
        return secrets[-1]

    IdGenerator.secret, IdGenerator.session_token = secret, session_token  # type: ignore[method-assign]  # recorded, not changed
    try:
        yield secrets
    finally:
        IdGenerator.secret, IdGenerator.session_token = before  # type: ignore[method-assign]  # restored
