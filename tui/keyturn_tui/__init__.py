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
for _name in _REFUSED:
    os.environ.pop(_name, None)
os.environ.setdefault("TEXTUAL_SMOOTH_SCROLL", "0")
os.environ.setdefault("TEXTUAL_FPS", "15")
