"""Generator of IDs and secrets that look like AWS's. Key IDs encode their account; secrets are random."""

from __future__ import annotations

import base64
import random
import string

from keyturn.model.secret import Secret

_BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_SECRET = string.ascii_letters + string.digits + "/+"


class IdGenerator:
    """A source of IDs and secrets.

    :param fixed: generate the same values in each run, for screenshots; otherwise use the system's random
        source.
    """

    def __init__(self, *, fixed: bool = False) -> None:
        self._random = (
            random.Random("keyturn sandbox")  # noqa: S311  # the secrets of a picture guard nothing
            if fixed
            else random.SystemRandom()
        )

    def key_id(self, prefix: str, account: str) -> str:
        """Return an access key ID (`AKIA`, `ASIA`) that encodes the account: the first six of
        its ten bytes are one set bit, 40 bits of account and seven bits without meaning here."""
        head = (1 << 47) | (int(account) << 7) | self._random.getrandbits(7)
        tail = self._random.getrandbits(32)
        return prefix + base64.b32encode(head.to_bytes(6, "big") + tail.to_bytes(4, "big")).decode("ascii")

    def unique_id(self, prefix: str) -> str:
        """Return an IAM unique ID, 21 characters. It distinguishes a user or role from a later one of the
        same name."""
        return prefix + "".join(self._random.choice(_BASE32) for _ in range(17))

    def secret(self) -> Secret:
        """Return a secret access key, 40 characters."""
        return Secret("".join(self._random.choice(_SECRET) for _ in range(40)))

    def session_token(self, least: int = 0) -> Secret:
        """Return a session token of at least `least` characters. The length varies, because AWS guarantees
        none."""
        length = max(self._random.randrange(270, 540), least * 3 // 4)
        return Secret("IQoJb3JpZ2luX2Vj" + base64.b64encode(self._random.randbytes(length)).decode("ascii"))
