"""The log: what nobody foresaw, and the warnings of libraries, without a word that could be a secret."""

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
    """`text` on one line, without what looks like a secret and without what a terminal would obey."""
    return safe(redaction.redacted(text))


def describe_traceback(error: BaseException) -> str:
    """The type of `error` and the places that it passed, innermost last. Its message and its variables may hold
    anything and are left out."""
    frames = traceback.extract_tb(error.__traceback__)
    places = " > ".join(
        f"{'/'.join(Path(frame.filename).parts[-2:])}:{frame.lineno} {frame.name}" for frame in frames[-30:]
    )
    error_type = f"{type(error).__module__}.{type(error).__qualname__}"
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    cause_text = f"; behind it {type(cause).__module__}.{type(cause).__qualname__}" if cause else ""
    return safe(f"{error_type} at {places or 'no known place'}{cause_text}", limit=8000)


class RedactedFile(logging.Handler):
    """Appends WARNING and up to `keyturn.log` in a folder: 0600, at most 1 MiB, and one older file of that size.

    A log that cannot be written is no reason to fail: the entry is dropped.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(logging.WARNING)
        self.path = folder / "keyturn.log"

    def emit(self, record: logging.LogRecord) -> None:
        try:
            files.append(self.path, self._line(record), make_room=self._make_room)
        except Exception:  # noqa: BLE001 - nothing that fails here may be shown or stop the caller
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
    """Send this process's warnings, and every exception that nobody catches, to the log in `folder` and nowhere else. A second call does nothing.

    Python's own hooks print a traceback to stderr, with a message that may hold anything.
    """
    root = logging.getLogger()
    if any(isinstance(handler, RedactedFile) for handler in root.handlers):
        return
    logging.raiseExceptions = False
    # Whoever set up logging before us, by a sitecustomize say, wants to see requests; they hold secrets.
    logging.disable(logging.INFO)
    root.handlers[:] = [RedactedFile(folder)]
    root.setLevel(logging.WARNING)
    sys.excepthook = _handle_uncaught
    sys.unraisablehook = lambda unraisable: record_unexpected(unraisable.exc_value)
    threading.excepthook = lambda args: record_unexpected(args.exc_value)


def record_unexpected(error: BaseException | None) -> None:
    """Log an exception that nobody foresaw: its type and the places it passed."""
    if error is not None:
        _LOGGER.error("unforeseen", exc_info=error)


def _handle_uncaught(_kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    record_unexpected(error)
    sys.stderr.write("keyturn: something unforeseen; see keyturn.log in the state folder.\n")
