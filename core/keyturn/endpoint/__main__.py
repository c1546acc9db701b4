"""`python -m keyturn.endpoint`: started by `keyturn exec --endpoint`, see :mod:`keyturn.endpoint.start`."""

from __future__ import annotations

from collections.abc import Mapping

from keyturn.endpoint.process import Giver, be_the_endpoint


def open_hand(environ: Mapping[str, str], profile: str, first: str) -> Giver:
    """What gets credentials of `profile` from the keeper of `environ`."""
    from keyturn.endpoint.handing import Handing
    from keyturn.keeper import Keeper

    return Handing(Keeper.from_environ(environ), profile, first)


if __name__ == "__main__":
    be_the_endpoint(open_hand)
