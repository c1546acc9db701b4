"""What every start of keyturn owes to processes that were killed. Needs no vault."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from keyturn import adrift, leftovers
from keyturn.activity import Act
from keyturn.acts import delivering
from keyturn.acts.desk import Desk
from keyturn.clock import system_clock
from keyturn.endpoint import token_file
from keyturn.history import History
from keyturn.text import safe


def clear(desk: Desk) -> tuple[str, ...]:
    """Takes temporary files of killed processes and the token files of killed endpoints away, and delivered sessions that
    have ended out of the credentials file.

    :returns: the profiles whose sessions were withdrawn.
    """
    now = system_clock().timestamp()
    leftovers.clear(desk.places.own_folders(), desk.places.data_dir, now)
    token_file.clear(desk.places.state_dir)
    history = History(desk.places.history_dir, desk.vault.seal, desk.clock)
    adrift.clear(desk.places.shared_files(), history, now, partial(_tell_once, desk))
    return delivering.withdraw_expired(desk)


def _tell_once(desk: Desk, file: Path, told: str) -> None:
    """Records what a start found, if that is not recorded yet: what stays is found at every start."""
    if not any(act.event == "recover" and act.result == safe(told) for act in desk.activity.read()):
        desk.activity.add(Act(desk.clock(), desk.places.shown(file), "recover", told, ok=False))
