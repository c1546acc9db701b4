"""Limits on files that may come from anywhere. Pure.

The agent stays below 150 MiB with any file, and a parser needs up to a hundred times the length of a file.
The limits are beyond 10,000 profiles.
"""

from __future__ import annotations

#: Most bytes, lines and sections of both shared files together. keyturn and botocore both hold all of them.
MAX_SHARED_BYTES = 1536 * 1024
MAX_SHARED_LINES = 80_000
MAX_SECTIONS = 20_000
#: Longest file of keyturn's own: the index, `profiles.toml`, `config.toml`.
MAX_OWN_BYTES = 4 * 1024 * 1024


def shared_file_excess(data: bytes, beside: bytes = b"") -> str | None:
    """Return the reason why a shared file is too large to be read, or None.

    :param data: its content, or its first bytes if those exceed `MAX_SHARED_BYTES`.
    :param beside: the content of the other shared file, if that is read too.
    """
    is_small_alone = bool(beside) and shared_file_excess(data) is None
    it, both = ("together with the other shared file it", data + beside) if is_small_alone else ("it", data)
    if len(both) > MAX_SHARED_BYTES:
        return f"{it} is longer than {MAX_SHARED_BYTES // 1024} KiB"
    if both.count(b"\n") + both.count(b"\r") > MAX_SHARED_LINES:
        return f"{it} has more than {MAX_SHARED_LINES} lines"
    return f"{it} has more than {MAX_SECTIONS} sections" if both.count(b"[") > MAX_SECTIONS else None
