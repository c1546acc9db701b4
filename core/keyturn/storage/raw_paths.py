"""Paths as plain strings, cheap enough for the fast path of clients: folders, sockets, shared files."""
# ruff: noqa: PTH109, PTH111, PTH112, PTH116, PTH120 - importing pathlib costs a tenth of the fast path's whole budget

from __future__ import annotations

import os
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: A Unix socket path is limited to 104 bytes on macOS and 108 on Linux. Longer paths move to the temporary
#: folder.
SOCKET_PATH_LIMIT = 100
#: The longer one of the two sockets in a run folder.
_LONGEST_NAME = "forward.sock"
#: On the remote host; ssh replaces `%r` with the user's name (ssh_config(5), TOKENS).
FORWARDED = "/tmp/keyturn-forwarded-%r.sock"  # noqa: S108 - the owner of socket and peer is checked


def own_home(environ: Mapping[str, str]) -> str:
    """Return the home folder of keyturn's own files, without a trailing slash: `HOME` if absolute, else the
    one in the password database. :func:`aws_home` also takes a relative `HOME`.

    :raises UsageError: if there is neither.
    """
    home = environ.get("HOME", "")
    return (home if home.startswith("/") else account_home()).rstrip("/")


def account_home() -> str:
    """Return the home folder of this user in the password database.

    :raises UsageError: if the user has no entry there, or one without a home.
    """
    import pwd

    try:
        home = pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        home = ""
    if home.startswith("/"):
        return home
    from keyturn.model.errors import UsageError

    raise UsageError(
        "Home folder unknown",
        f"HOME is not set, and uid {os.getuid()} has no home in the password database",
        "Set HOME, or KEYTURN_HOME, AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE, to absolute paths",
    )


def own_folder(environ: Mapping[str, str]) -> str | None:
    """Return the absolute folder that `KEYTURN_HOME` names for all files of keyturn, or None if it is not
    set.

    :raises UsageError: if it is relative to a deleted folder.
    """
    own = environ.get("KEYTURN_HOME", "")
    if not own:
        return None
    if own == "~" or own.startswith("~/"):
        own = f"{own_home(environ)}{own[1:]}/"
    if not own.startswith("/"):
        own = f"{working_folder('KEYTURN_HOME')}/{own}"
    return own.rstrip("/") or "/."


def working_folder(variable: str) -> str:
    """Return the base of a relative path in `variable`.

    :raises UsageError: if the working directory was deleted.
    """
    try:
        return os.getcwd()
    except FileNotFoundError:
        from keyturn.model.errors import UsageError

        raise UsageError(
            variable,
            "it is relative to a working directory that was deleted",
            "Use an absolute path, or change to another directory",
        ) from None


def aws_home(environ: Mapping[str, str]) -> str:
    """Return the home folder like AWS tools do: `HOME`, else the one in the password database.

    :raises UsageError: if there is neither. AWS tools would use a folder named `~` in the working directory.
    """
    return environ.get("HOME") or account_home()


def config_folder(environ: Mapping[str, str]) -> str:
    """Return the folder of `config.toml` and `profiles.toml`."""
    own = own_folder(environ)
    return f"{own}/config" if own is not None else _xdg(environ, "XDG_CONFIG_HOME", ".config")


def data_folder(environ: Mapping[str, str]) -> str:
    """Return the folder of `vault/`."""
    own = own_folder(environ)
    return f"{own}/data" if own is not None else _xdg(environ, "XDG_DATA_HOME", ".local/share")


def aws_file(environ: Mapping[str, str], variable: str, name: str) -> str:
    """Return the path of a shared file like botocore does: the value of `variable` with variables and `~`
    expanded, else `~/.aws/NAME`. A variable that is set but empty means that there is no such file;
    `/dev/null` stands for that.
    """
    value = environ.get(variable)
    if value is None:
        return f"{aws_home(environ)}/.aws/{name}"
    return os.path.expanduser(os.path.expandvars(value)) or os.devnull


def _xdg(environ: Mapping[str, str], variable: str, default: str) -> str:
    value = environ.get(variable, "")
    if value.startswith("/"):
        return f"{value}/keyturn"
    folder = "Library/Application Support" if sys.platform == "darwin" else default
    return f"{own_home(environ)}/{folder}/keyturn"


def state_folder(environ: Mapping[str, str]) -> str:
    """Return the folder of the index, the logs and, without a runtime folder, the socket."""
    own = own_folder(environ)
    if own is not None:
        return f"{own}/state"
    value = environ.get("XDG_STATE_HOME", "")
    if value.startswith("/"):
        return f"{value.rstrip('/')}/keyturn"
    if sys.platform == "darwin":
        return f"{own_home(environ)}/Library/Application Support/keyturn"
    return f"{own_home(environ)}/.local/state/keyturn"


def run_folder(environ: Mapping[str, str]) -> str:
    """Return the preferred folder of the socket, the first of :func:`_run_folders`."""
    return next(_run_folders(environ))


def _run_folders(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the folders of the socket in order: the one under `KEYTURN_HOME` alone, else those in the runtime
    folder and in the state folder. An agent may listen in the second one, because it was started by an
    earlier release, or before the runtime folder existed.

    A runtime folder that belongs to another user (as after `su`) or is writable by others is ignored. Without
    `XDG_RUNTIME_DIR` (as under cron) the folder that systemd creates at login is used, because the agent of
    the login session listens there.
    """
    own = own_folder(environ)
    if own is not None:
        yield f"{own}/run"
        return
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    if runtime.startswith("/") and _is_private(runtime):
        yield f"{runtime.rstrip('/')}/keyturn"
    elif _is_private(login := f"/run/user/{os.geteuid()}", 0o077):
        yield f"{login}/keyturn"
    yield f"{state_folder(environ)}/run"


def socket_path(environ: Mapping[str, str]) -> str:
    """Return the socket at which an agent of this environment would listen: `agent.sock` in
    :func:`run_folder`. If there is no room in that path for both sockets, or the folder cannot be written (a
    read-only home), return a path with a hash of it in this user's folder under the temporary folder.
    """
    run = run_folder(environ)
    if len(os.fsencode(f"{run}/{_LONGEST_NAME}")) <= SOCKET_PATH_LIMIT and _can_hold_socket(run):
        return f"{run}/agent.sock"
    return next(_short_paths(environ, run))


def socket_paths(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield all sockets at which an agent of this keyturn home may listen: :func:`socket_path`, then those
    that an agent has that was started by an earlier release, without a runtime folder, or while the home was
    read-only.
    """
    first = socket_path(environ)
    yield first
    seen = {first}
    try:
        for run in _run_folders(environ):
            for path in (f"{run}/agent.sock", *_short_paths(environ, run)):
                if path not in seen and len(os.fsencode(path)) <= SOCKET_PATH_LIMIT:
                    seen.add(path)
                    yield path
    except _usage_error():
        return  # no home, so no state folder


def _usage_error() -> type[Exception]:
    """Return the class, which is imported only when an exception is compared with it."""
    from keyturn.model.errors import UsageError

    return UsageError


def forward_path(environ: Mapping[str, str]) -> str:
    """Return the agent's second socket, the local end of `ssh -R`, beside the first."""
    folder, _, name = socket_path(environ).rpartition("/")
    return f"{folder}/forward.sock" if name == "agent.sock" else f"{folder}/{name[:-5]}-forward.sock"


def forwarded_path(environ: Mapping[str, str]) -> str:
    """Return the socket path on a remote host: `KEYTURN_FORWARDED`, else a name directly in `/tmp`,
    because sshd would not create a folder.
    """
    value = environ.get("KEYTURN_FORWARDED", "")
    if value.startswith("/"):
        return value
    import pwd

    try:
        return FORWARDED.replace("%r", pwd.getpwuid(os.geteuid()).pw_name)
    except KeyError:
        return FORWARDED.replace("%r", str(os.geteuid()))


def _can_hold_socket(folder: str) -> bool:
    """Return True if a file can be created in `folder`, or in the nearest folder above it that exists."""
    while not os.path.isdir(folder) and folder != "/":
        folder = os.path.dirname(folder)
    return os.access(folder, os.W_OK)


def _short_paths(environ: Mapping[str, str], run: str) -> Iterator[str]:
    """Yield the short sockets for the folder `run`: in `TMPDIR` if it has room, and in `/tmp`."""
    import hashlib

    own = f"keyturn-{os.getuid()}"
    temporary = environ.get("TMPDIR", "").rstrip("/")
    folders = [f"/tmp/{own}"]  # noqa: S108 - refused unless it is 0700 and owned by this user
    longest = f"{temporary}/{own}/{'0' * 16}-{_LONGEST_NAME}"
    has_room = len(os.fsencode(longest)) <= SOCKET_PATH_LIMIT
    if temporary.startswith("/") and os.path.isdir(temporary) and has_room:
        folders.insert(0, f"{temporary}/{own}")
    digest = hashlib.sha256(os.fsencode(run)).hexdigest()[:16]
    for folder in folders:
        yield f"{folder}/{digest}.sock"


def _is_private(folder: str, excess: int = 0o022) -> bool:
    """Return True if `folder` belongs to this user and none of the permission bits `excess` is set."""
    try:
        status = os.stat(folder)
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & excess
