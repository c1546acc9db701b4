"""Regions: which of them an account may use STS in, and which tokens count there."""

from __future__ import annotations

from keyturn_sandbox.asked import Caller
from keyturn_sandbox.refusals import invalid_token, region_disabled
from keyturn_sandbox.regions import GLOBAL, OPT_IN
from keyturn_sandbox.world import World

#: Calls whose service model knows RegionDisabledException.
_ISSUING = {"AssumeRole", "GetSessionToken", "GetFederationToken"}


def check_region(caller: Caller, action: str, world: World) -> None:
    """Refuse an STS call in a region that the caller's account has not activated, or with a token that does not count
    there.

    :raises Refusal: `RegionDisabledException` for what would give out credentials, else `InvalidClientTokenId`.
    """
    account, region = caller.principal.account, caller.region
    disabled = (
        (account, region) not in world.activated
        if region in OPT_IN
        else (account, region) in world.deactivated and region not in GLOBAL
    )
    if disabled and action in _ISSUING:
        raise region_disabled(account)
    if region in OPT_IN and (disabled or (caller.session is not None and not caller.session.everywhere)):
        raise invalid_token()
