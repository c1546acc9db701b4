"""One file removed, if what goes is the very version that was looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from keyturn.awsfiles.replace import appear, private_name
from keyturn.awsfiles.target import Target
from keyturn.awsfiles.version import Version


def take_away(target: Target, found: Version, keep: Callable[[Path, bytes], None]) -> bool:
    """Removes the file that `target` names; False, and it is there as before, if that is not `found` any more.

    Its name is taken from it first, so that nobody can put another version under it between the look and the removal.

    :param keep: gets a version of somebody's whose name another one has taken meanwhile.
    :raises OSError: the file system said no.
    """
    aside = private_name(target.real.parent)
    try:
        target.real.rename(aside)
    except FileNotFoundError:
        return False
    if found.current(replace(target, real=aside)):
        aside.unlink()
        return True
    if not appear(aside, target.real):
        keep(target.path, aside.read_bytes())
    aside.unlink(missing_ok=True)
    return False
