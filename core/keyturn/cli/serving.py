"""`exec --endpoint`: when an endpoint can do what it promises, and the environment of a program that has one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from keyturn.delivery import endpoint, environment
from keyturn.endpoint import start
from keyturn.errors import UsageError
from keyturn.keeper import Keeper
from keyturn.model import Delivery, Kind, Profile
from keyturn.secret import Secret

#: The profile that AWS clients take where none is named.
_DEFAULT = "default"


def require_effect(keeper: Keeper, profile: str) -> None:
    """Makes sure that a program would act as `profile` by its endpoint, and as nobody else.

    :raises UsageError: the profile gives no temporary credentials, or the shared files hold others that every AWS client
        takes before it looks for an endpoint.
    """
    rows = {row.name: row for row in keeper.snapshot().profiles}
    if profile in rows and rows[profile].delivers_key:
        raise endpoint.only_temporary(profile)
    delivered = next((row.name for row in rows.values() if row.deliver_as == _DEFAULT), None)
    if delivered is None and not _wins(rows.get(_DEFAULT), profile):
        return
    why = f"AWS clients take the credentials of [{_DEFAULT}] in the shared files before they ask an endpoint"
    raise UsageError(f"endpoint for {profile}", why, _way_out(keeper, rows.get(_DEFAULT), delivered))


def _way_out(keeper: Keeper, default: Profile | None, delivered: str | None) -> str:
    """What to do about a profile `default` with credentials.

    :param delivered: the profile whose session is delivered there.
    """
    if delivered is not None:
        mend = f"run: keyturn deliver {delivered} --to credential-process"
    else:
        file = keeper.places.shown(default.origin.file) if default and default.origin else "the shared files"
        first = f"run keyturn release {_DEFAULT}, then " if default and default.managed else ""
        mend = (
            f"{first}rename [{_DEFAULT}] in {file}, say to [own] ([profile own] in the config file), "
            "and set AWS_PROFILE=own in your shell, which CMD does not get"
        )
    return f"Leave out --endpoint, or {mend}"


def _wins(default: Profile | None, profile: str) -> bool:
    if default is None or (default.kind is Kind.UNKNOWN and default.problem is None):
        return False
    # Its line asks keyturn for the same.
    return not (profile == _DEFAULT and default.delivery is Delivery.CREDENTIAL_PROCESS)


@contextmanager
def environment_for(
    keeper: Keeper, profile: str, first: Secret, *, in_file: bool
) -> Iterator[dict[str, str]]:
    """The environment in which a program finds an endpoint for `profile`; see :func:`keyturn.endpoint.start.opened`.

    :param first: a document of its credentials.
    :param in_file: whether the endpoint's token is in a file, or in the environment itself.
    """
    from_asker = keeper.rests_on_asker(profile)
    region = keeper.region(profile)
    opened = start.opened(keeper.places, os.environ, profile, first, from_asker=from_asker, in_file=in_file)
    with opened as found:
        change = environment.endpoint(
            found.url,
            region,
            token=found.token,
            token_file=found.token_file,
        )
        proxies = environment.past_proxies(os.environ, endpoint.HOST)
        others = environment.without_bearers(os.environ)
        yield environment.applied({**others, **change, **proxies}, os.environ)
