"""The `keyturn agent` commands."""

from __future__ import annotations

from pathlib import Path

import click

from keyturn.agent import client, install, shutdown
from keyturn.agent.listener import private_folder
from keyturn.cli.options import as_json, credential_service, opens_vault
from keyturn.cli.output import emit, say, warn
from keyturn.cli.profiles import key_notices
from keyturn.cli.prompts import VaultUnlocker
from keyturn.model.errors import AgentHangs, AgentUnavailable
from keyturn.model.profile import RotationState, VaultState
from keyturn.storage.socket_paths import FORWARDED, forward_path


@click.group()
def agent() -> None:
    """The process that holds the open vault, so that it is unlocked once."""


@agent.command()
@opens_vault
def start(unlocker: VaultUnlocker) -> None:
    """Unlock the vault and start the agent, if none is running."""
    service = unlocker.service
    if service.snapshot().agent:
        say("The agent is running.")
        return
    if unlocker.has_given_secret or service.context.vault.state() is not VaultState.CLOSED:
        if service.context.vault.state() is VaultState.ABSENT:
            unlocker.create_missing_vault()
        else:
            unlocker.unlock()
    else:
        service.unlock()
    if not service.snapshot().agent:
        raise AgentUnavailable("start of the agent", "none answers", "keyturn works without one, more slowly")
    say("The agent is running; the vault is open until it is locked, for 12 h at most.")


@agent.command()
def stop() -> None:
    """Stop the agent; the vault is locked then."""
    stopped = shutdown.lock(credential_service().paths.socket)
    say("The agent has ended, the vault is locked." if stopped else "No agent was running.")


@agent.command()
@as_json
def status(*, json_: bool) -> None:
    """Whether an agent runs, and since when; which keys are past their policy."""
    service = credential_service()
    try:
        answer = client.call(service.paths.socket, {"op": "status"})
    except AgentHangs:
        raise
    except AgentUnavailable as error:
        if json_:
            emit({"running": False})
        else:
            say(f"No agent: {error.why}.")
        return
    rows = service.snapshot().profiles
    if json_:
        overdue = [row.name for row in rows if row.rotation.state is RotationState.OVERDUE and row.managed]
        waiting = {row.name: row.rotation.waits for row in rows if row.rotation.waits}
        emit({"running": True, **answer, "overdue": overdue, "waiting": waiting})
    else:
        paused = "; renewal is paused" if answer.get("paused") else ""
        say(
            f"Running, process {answer['pid']}, keyturn {answer['version']}; unlocked since {answer['open_since']}{paused}."
        )
        for line in key_notices(rows):
            say(line)


@agent.command()
def pause() -> None:
    """Renew nothing by itself until `agent resume`, or until the agent ends; clients that ask still get what is due."""
    credential_service().pause(paused=True)
    say("Renewal is paused; keyturn agent resume ends that.")


@agent.command()
def resume() -> None:
    """Go on renewing what is in use and due."""
    credential_service().pause(paused=False)
    say("Renewal goes on.")


@agent.command("unit")
@click.option("--launchd", is_flag=True, help="For macOS: a property list for ~/Library/LaunchAgents.")
def unit_(*, launchd: bool) -> None:
    """Print a systemd user unit that starts the agent at login, by the system keyring. Nothing is installed.

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
    help="The socket's path on HOST, which KEYTURN_FORWARDED names there; else one in /tmp that keyturn finds.",
)
def ssh_config(*, host: str, at: str) -> None:
    """Print lines for ~/.ssh/config by which keyturn on HOST gets temporary credentials from here. Nothing is installed.

    \b
    keyturn agent ssh-config build-box >> ~/.ssh/config
    """
    service = credential_service()
    names = service.context.read().config.forward
    local_socket = forward_path(service.context.environ)
    private_folder(Path(local_socket).parent)  # ssh would use any socket that another user puts there
    click.echo(install.lines(host, local_socket, at, names), nl=False)
    if not names:
        warn("no profile is forwarded yet: name some in `forward` of config.toml")
