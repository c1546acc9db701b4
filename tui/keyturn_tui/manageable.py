"""Whether `m` can do anything for a profile."""

from __future__ import annotations

from keyturn.acts.adopting import ADOPTABLE
from keyturn.delivery import credential_process
from keyturn.errors import KeyturnError
from keyturn.model import Kind, Profile


def unmanageable(profile: Profile) -> str | None:
    """Why `m` can do nothing for a profile, as far as its kind tells (the keeper looks at the files too), else None."""
    if profile.managed:
        return None
    if profile.problem is not None:
        return f"{profile.name} is broken; correct it in the files first"
    if profile.kind in (Kind.MFA_SESSION, Kind.STATIC_SESSION):
        return f"{profile.name} holds temporary keys only, which end by themselves"
    by_whom = profile.chain or profile.credential_source
    if profile.kind not in ADOPTABLE or (profile.kind is Kind.ROLE and not by_whom):
        return f"{profile.name} holds no long-term secret in the files; r refreshes it as it is"
    try:
        credential_process.check_name(profile.name)
    except KeyturnError as error:
        return f"{profile.name}: {error.why}; give it another name in the files"
    return None
