"""Which partition a region belongs to, by the patterns that AWS clients use."""

from __future__ import annotations

import re

_PARTITIONS = (
    ("aws-cn", re.compile(r"(cn-\w+-\d+|aws-cn-global)", re.ASCII)),
    ("aws-us-gov", re.compile(r"(us-gov-\w+-\d+|aws-us-gov-global)", re.ASCII)),
    ("aws-eusc", re.compile(r"eusc-\w+-\w+-\d+", re.ASCII)),
    ("aws", re.compile(r"((us|eu|ap|sa|ca|me|af|il|mx)-\w+-\d+|aws-global)", re.ASCII)),
)


def partition_of(region: str) -> str | None:
    """The partition of `region` (`aws`, `aws-cn`, `aws-us-gov`, `aws-eusc`); None if no such region can be."""
    for partition, pattern in _PARTITIONS:
        if pattern.fullmatch(region):
            return partition
    return None
