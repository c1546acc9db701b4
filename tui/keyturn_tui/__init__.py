"""The full-screen app.

Textual reads several environment variables while it is imported, and this package's first line runs before that: what
would log key presses, serve the app to a browser or hand it to a debugger is dropped, and what costs bytes over a
slow line is switched off.
"""

from __future__ import annotations

import os

#: These would write typed passphrases to a file, or let another program see or drive the screen.
_REFUSED = (
    "TEXTUAL",
    "TEXTUAL_DEBUG",
    "TEXTUAL_DEVTOOLS_HOST",
    "TEXTUAL_DEVTOOLS_PORT",
    "TEXTUAL_DRIVER",
    "TEXTUAL_LOG",
    "TEXTUAL_PRESS",
    "TEXTUAL_SCREENSHOT",
    "TEXTUAL_SCREENSHOT_FILENAME",
    "TEXTUAL_SCREENSHOT_LOCATION",
    "TEXTUAL_SHOW_RETURN",
)
_ORIGINAL = {name: value for name, value in os.environ.items() if name.startswith("TEXTUAL")}
for _name in _REFUSED:
    os.environ.pop(_name, None)
os.environ.setdefault("TEXTUAL_SMOOTH_SCROLL", "0")
os.environ.setdefault("TEXTUAL_FPS", "15")


def restore_environment() -> None:
    """Undo all of this, where no app is started: a program that is run from here has its own ideas of Textual."""
    for name in [name for name in os.environ if name.startswith("TEXTUAL")]:
        del os.environ[name]
    os.environ.update(_ORIGINAL)
