"""The text of a session policy: what stands in a definition is the JSON itself, or the path of a file that holds it."""

from __future__ import annotations

import os
from pathlib import Path

from keyturn.errors import ProfileBroken

#: Nothing near this is a policy that AWS takes; a wrong path may lead to an endless file.
LONGEST_FILE = 65_536


def text_of(value: str, profile: str) -> str:
    """The policy itself.

    :raises ProfileBroken: the file cannot be read.
    """
    if value.lstrip().startswith("{"):
        return value
    path = Path(os.path.expanduser(value))  # noqa: PTH111  # Path.expanduser raises where there is no home
    what, hint = f"policy of {profile}", f"Correct it: keyturn set {profile} policy=FILE"
    if not path.is_absolute():
        raise ProfileBroken(what, f"{value} is neither JSON nor an absolute path", hint)
    try:
        if not path.is_file():
            raise ProfileBroken(what, f"{value} is no file", hint)
        with path.open("rb") as file:
            data = file.read(LONGEST_FILE + 1)
        if len(data) > LONGEST_FILE:
            raise ProfileBroken(what, f"{value} is longer than {LONGEST_FILE} bytes", hint)
        return data.decode("utf-8")
    except OSError as error:
        raise ProfileBroken(what, f"{value}: {error.strerror or error}", hint) from None
    except UnicodeDecodeError:
        raise ProfileBroken(what, f"{value} is no UTF-8 text", hint) from None
