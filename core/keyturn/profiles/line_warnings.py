"""Warnings about keyturn's own lines in the shared files: AWS SDKs that cannot use them. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

from keyturn.awsconfig.loader import SharedConfig
from keyturn.awsconfig.process_line import is_keyturn_process_line
from keyturn.awsconfig.sdk_limits import line_limit, name_limit
from keyturn.model.profile import FileWarning
from keyturn.profiles.status import needs_process_line
from keyturn.storage.managed_profiles import ManagedProfile


def find(shared: SharedConfig, definitions: Mapping[str, ManagedProfile]) -> Iterator[FileWarning]:
    """Yield a warning for each `credential_process` line of a managed profile that some SDK cannot run or
    does not find, with its fix.
    """
    for definition in definitions.values():
        found = shared.find_item(definition.name, "credential_process")
        if found is None or not needs_process_line(definition):
            continue
        kind, _, item = found
        name, value, path = definition.name, item.value, shared.path_of(kind)
        of_line, of_name = line_limit(value), name_limit(name, kind)
        # Most lines have no limit, and to split a line costs more than to look for one.
        if (of_line or of_name) is None or not is_keyturn_process_line(value, name):
            continue
        if of_line is not None:
            fix = f"run: {_deliver_again(definition)}" if value[:1] in "\"'" else "install keyturn elsewhere"
            yield FileWarning(path, item.line, f"credential_process: {of_line}; {fix}", name)
        if of_name is not None:
            fix = f"to rename it, run: keyturn release {shlex.quote(name)}"
            yield FileWarning(path, item.line, f"{of_name}; {fix}", name)


def _deliver_again(definition: ManagedProfile) -> str:
    """Return the command that writes the line of a profile anew and changes nothing else."""
    as_name = f" --as {shlex.quote(definition.deliver_as)}" if definition.deliver_as else ""
    return f"keyturn deliver {shlex.quote(definition.name)} --to {definition.delivery}{as_name}"
