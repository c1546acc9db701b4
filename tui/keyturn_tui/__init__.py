"""The full-screen app.

This package changes the environment before Textual is imported, because Textual reads several variables at
import time. Variables that log key presses, serve the app to a browser or attach a debugger are removed;
smooth scrolling and a high frame rate are disabled, because they cost bandwidth over SSH.
"""

from __future__ import annotations

import os

#: Removed, because they write typed passphrases to a file or let another program see or drive the screen.
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
    """Restore the TEXTUAL* variables when no app is started, because a child process may use Textual
    itself."""
    for name in [name for name in os.environ if name.startswith("TEXTUAL")]:
        del os.environ[name]
    os.environ.update(_ORIGINAL)
