"""Log file for unexpected errors and warnings of libraries, without secrets."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from keyturn.model import redaction
from keyturn.model.text import iso, safe
from keyturn.system import files

_MAX_SIZE = 1 << 20
_LOGGER = logging.getLogger("keyturn")


def redacted(text: str) -> str:
    """Return `text` on one line, with secrets masked and terminal control characters escaped."""
    return safe(redaction.redacted(text))


def describe_traceback(error: BaseException) -> str:
    """Return the type of `error` and its stack locations, innermost last. The message and local variables are
    omitted, because they may hold secrets.
    """
    frames = traceback.extract_tb(error.__traceback__)
    places = " > ".join(
        f"{'/'.join(Path(frame.filename).parts[-2:])}:{frame.lineno} {frame.name}" for frame in frames[-30:]
    )
    error_type = f"{type(error).__module__}.{type(error).__qualname__}"
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    cause_text = f"; caused by {type(cause).__module__}.{type(cause).__qualname__}" if cause else ""
    return safe(f"{error_type} at {places or 'unknown location'}{cause_text}", limit=8000)


class RedactedFile(logging.Handler):
    """Handler that appends WARNING and above to `keyturn.log` in a folder: mode 0600, at most 1 MiB, plus one
    rotated file.

    An entry that cannot be written is dropped, because logging must not fail the caller.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(logging.WARNING)
        self.path = folder / "keyturn.log"

    def emit(self, record: logging.LogRecord) -> None:
        try:
            files.append(self.path, self._line(record), make_room=self._make_room)
        except Exception:  # noqa: BLE001 - a failure here must not be shown or stop the caller
            return

    def _line(self, record: logging.LogRecord) -> bytes:
        text = redacted(record.getMessage())
        if record.exc_info and record.exc_info[1] is not None:
            text += ": " + describe_traceback(record.exc_info[1])
        timestamp = iso(datetime.fromtimestamp(record.created, UTC))
        line = f"{timestamp} {record.levelname} [{record.process}] {safe(record.name)}: {text}\n"
        return line.encode("utf-8", "backslashreplace")

    def _make_room(self, size: int) -> None:
        if size > _MAX_SIZE:
            self.path.replace(self.path.with_suffix(".log.1"))


def open_log(folder: Path) -> None:
    """Send warnings and uncaught exceptions of this process to the log in `folder` and nowhere else. A second
    call does nothing.

    This replaces Python's own hooks, because they print a traceback to stderr with a message that may hold a
    secret.
    """
    root = logging.getLogger()
    if any(isinstance(handler, RedactedFile) for handler in root.handlers):
        return
    logging.raiseExceptions = False
    # Other code, such as sitecustomize, may have enabled request logging, and requests hold secrets.
    logging.disable(logging.INFO)
    root.handlers[:] = [RedactedFile(folder)]
    root.setLevel(logging.WARNING)
    sys.excepthook = _handle_uncaught
    sys.unraisablehook = lambda unraisable: record_unexpected(unraisable.exc_value)
    threading.excepthook = lambda args: record_unexpected(args.exc_value)


def record_unexpected(error: BaseException | None) -> None:
    """Log an unexpected exception: its type and stack locations."""
    if error is not None:
        _LOGGER.error("unexpected error", exc_info=error)


def _handle_uncaught(_kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    record_unexpected(error)
    sys.stderr.write("keyturn: Unexpected error. See keyturn.log in the state folder.\n")
