"""Regions: activation of STS per account, and validity of tokens in opt-in regions."""

from __future__ import annotations

import re

from keyturn_sandbox.aws_errors import invalid_token, region_disabled
from keyturn_sandbox.state import SandboxState
from keyturn_sandbox.verified_call import Caller

#: Calls with RegionDisabledException in the service model.
_ISSUING = {"AssumeRole", "GetSessionToken", "GetFederationToken"}


def check_region(caller: Caller, action: str, state: SandboxState) -> None:
    """Reject an STS call in a region that the caller's account has not activated, or with a token that is not
    valid there.

    :raises Refusal: `RegionDisabledException` for calls that issue credentials, otherwise
        `InvalidClientTokenId`.
    """
    account, region = caller.principal.account, caller.region
    disabled = (
        (account, region) not in state.activated
        if region in OPT_IN
        else (account, region) in state.deactivated and region not in GLOBAL
    )
    if disabled and action in _ISSUING:
        raise region_disabled(account)
    if region in OPT_IN and (disabled or (caller.session is not None and not caller.session.everywhere)):
        raise invalid_token()


_PARTITIONS = (
    ("aws-cn", re.compile(r"(cn-\w+-\d+|aws-cn-global)", re.ASCII)),
    ("aws-us-gov", re.compile(r"(us-gov-\w+-\d+|aws-us-gov-global)", re.ASCII)),
    ("aws-eusc", re.compile(r"eusc-\w+-\w+-\d+", re.ASCII)),
    ("aws", re.compile(r"((us|eu|ap|sa|ca|me|af|il|mx)-\w+-\d+|aws-global)", re.ASCII)),
)


def partition_of(region: str) -> str | None:
    """Return the partition of `region` (`aws`, `aws-cn`, `aws-us-gov`, `aws-eusc`), or None if the name is
    not valid."""
    return next((partition for partition, pattern in _PARTITIONS if pattern.fullmatch(region)), None)


#: Opt-in regions of the commercial partition.
OPT_IN = frozenset(
    [
        "af-south-1",
        "ap-east-1",
        "ap-east-2",
        "ap-south-2",
        "ap-southeast-3",
        "ap-southeast-4",
        "ap-southeast-5",
        "ap-southeast-6",
        "ap-southeast-7",
        "ca-west-1",
        "eu-central-2",
        "eu-south-1",
        "eu-south-2",
        "il-central-1",
        "me-central-1",
        "me-south-1",
        "mx-central-1",
    ]
)

#: The signing region does not distinguish the global endpoint from the regional one of us-east-1; the
#: stricter rule applies.
GLOBAL = frozenset({"us-east-1", "aws-global"})
