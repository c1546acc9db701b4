"""An adoption that was interrupted: the vault and the definitions have the profile, the shared files still do too.

Adopting it once more brings it to its end; what the vault took the first time stays as it is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from keyturn.adoption import LINE_KEY
from keyturn.delivery.credential_process import is_ours
from keyturn.errors import KeyturnError, Protected
from keyturn.model import Delivery
from keyturn.reading import Reading


def is_unfinished(reading: Reading, name: str) -> bool:
    """Whether the shared files still make of a managed profile what its definition says, so that they win over us."""
    one, native = reading.definitions.get(name), reading.natives.get(name)
    if one is None or native is None or native.problem:
        return False
    return one.delivery is Delivery.CREDENTIAL_PROCESS and native.kind is one.kind


def check(name: str, entry: Mapping[str, Any] | None, taken: Sequence[Mapping[str, Any]]) -> None:
    """Makes sure that all that leaves the files now is in the vault.

    :param entry: what the vault took from the profile.
    :param taken: what is to be taken out now, section by section.
    :raises KeyturnError: the vault knows nothing of it, or something else.
    """
    what = f"adopt of {name}"
    if entry is None:
        raise KeyturnError(what, "keyturn manages it already", f"See: keyturn show {name}")
    kept = {(each["path"], each["section"]): dict(map(tuple, each["items"])) for each in entry["sections"]}
    for section in taken:
        known = kept.get((section["path"], section["section"]), {})
        other = [
            key
            for key, value in section["items"]
            if known.get(key) != value and not (key == LINE_KEY and is_ours(value, name))
        ]
        if other:
            raise Protected(
                what,
                f"keyturn manages it already, and {', '.join(other)} of [{section['section']}] is not what it took",
                "Move what was put there since to another profile",
            )
