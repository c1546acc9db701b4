"""The `keyturn agent` commands."""

from __future__ import annotations

from pathlib import Path

import click

from keyturn.agent import install, rpc_client, shutdown
from keyturn.agent.listener import private_folder
from keyturn.cli.options import as_json, credential_service, opens_vault
from keyturn.cli.output import emit, say, warn
from keyturn.cli.profiles import key_notices
from keyturn.cli.prompts import VaultUnlocker
from keyturn.model.errors import AgentHangs, AgentUnavailable
from keyturn.model.profile import RotationState, VaultState
from keyturn.storage.raw_paths import FORWARDED, forward_path


@click.group()
def agent() -> None:
    """Manage the agent, which holds the unlocked vault and renews sessions."""


@agent.command()
@opens_vault
def start(unlocker: VaultUnlocker) -> None:
    """Unlock the vault and start the agent, if none of this version is running."""
    service = unlocker.service
    if service.snapshot().agent and not (service.needs_new_agent() and unlocker.can_unlock):
        say("Agent is running.")
        return
    state = service.context.vault.state()
    if state is VaultState.ABSENT:
        unlocker.create_missing_vault()
    elif unlocker.has_given_secret or state is not VaultState.CLOSED:
        unlocker.unlock()
    else:
        service.unlock()
    if not service.snapshot().agent:
        raise AgentUnavailable(
            "Could not start the agent", "it does not respond", "keyturn works without it, but more slowly"
        )
    say("Agent is running. The vault stays unlocked for up to 12 h.")


@agent.command()
def stop() -> None:
    """Stop the agent and lock the vault."""
    stopped = shutdown.lock_all(credential_service().paths.sockets)
    say("Agent stopped, vault locked." if stopped else "Agent is not running.")


@agent.command()
@as_json
def status(*, json_: bool) -> None:
    """Show the agent's state, and keys that are past their rotation policy."""
    service = credential_service()
    try:
        answer = rpc_client.call(service.agent_socket, {"op": "status"})
    except AgentHangs:
        raise
    except AgentUnavailable as error:
        if json_:
            emit({"running": False})
        else:
            say(f"Agent is not running{f': {error.why}' if error.why else ''}.")
        return
    rows = service.snapshot().profiles
    if json_:
        overdue = [row.name for row in rows if row.rotation.state is RotationState.OVERDUE and row.managed]
        waiting = {row.name: row.rotation.pending_step for row in rows if row.rotation.pending_step}
        emit({"running": True, **answer, "overdue": overdue, "waiting": waiting})
    else:
        paused = ". Auto-renewal is paused" if answer.get("paused") else ""
        say(
            f"Running (pid {answer['pid']}, keyturn {answer['version']}), unlocked since "
            f"{answer['open_since']}{paused}."
        )
        say(*key_notices(rows))


@agent.command()
def pause() -> None:
    """Pause auto-renewal until `agent resume` or the agent stops. Requests of clients still renew."""
    credential_service().pause(paused=True)
    say("Auto-renewal paused. To resume it: keyturn agent resume")


@agent.command()
def resume() -> None:
    """Resume auto-renewal of sessions that are in use."""
    credential_service().pause(paused=False)
    say("Auto-renewal resumed.")


@agent.command("unit")
@click.option(
    "--launchd", is_flag=True, help="Print a property list for ~/Library/LaunchAgents (macOS) instead."
)
def unit_(*, launchd: bool) -> None:
    """Print a systemd user unit that starts the agent at login with the system keyring. Installs nothing.

    \b
    keyturn agent unit > ~/.config/systemd/user/keyturn.service
    systemctl --user enable --now keyturn
    """
    program = credential_service().context.program()
    click.echo(install.launchd_plist(program) if launchd else install.systemd_unit(program), nl=False)


@agent.command("ssh-config")
@click.argument("host")
@click.option(
    "--at",
    metavar="PATH",
    default=FORWARDED,
    help="Path of the socket on HOST, set there as KEYTURN_FORWARDED. Default: a path in /tmp that "
    "keyturn finds.",
)
def ssh_config(*, host: str, at: str) -> None:
    """Print ~/.ssh/config lines that forward temporary credentials to keyturn on HOST. Installs nothing.

    \b
    keyturn agent ssh-config build-box >> ~/.ssh/config
    """
    service = credential_service()
    names = service.context.read().config.forward
    local_socket = forward_path(service.context.environ)
    private_folder(Path(local_socket).parent)  # ssh would use any socket that another user puts there
    click.echo(install.lines(host, local_socket, at, names), nl=False)
    if not names:
        warn("No profile is forwarded yet. Set `forward` in config.toml.")
