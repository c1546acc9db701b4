"""Every secret that the stand-in for AWS makes, from the first one on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from keyturn.model.secret import Secret
from keyturn_sandbox.id_generator import Forge


@contextmanager
def minted() -> Iterator[list[Secret]]:
    """The list of all secrets and tokens that any sandbox of this process makes meanwhile; it goes on growing."""
    made: list[Secret] = []
    before = Forge.secret, Forge.session_token

    def secret(self: Forge) -> Secret:
        made.append(before[0](self))
        return made[-1]

    def session_token(self: Forge, least: int = 0) -> Secret:
        made.append(before[1](self, least))
        return made[-1]

    Forge.secret, Forge.session_token = secret, session_token  # type: ignore[method-assign]  # listened to, not changed
    try:
        yield made
    finally:
        Forge.secret, Forge.session_token = before  # type: ignore[method-assign]  # as it was
