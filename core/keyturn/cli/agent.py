"""keyturn agent: start, stop, status."""

from __future__ import annotations

from pathlib import Path

import click

from keyturn.agent import client, install, shutdown
from keyturn.agent import install as unit
from keyturn.agent.listener import private_folder
from keyturn.cli.options import as_json, keeper, opens_vault
from keyturn.cli.output import emit, say, warn
from keyturn.cli.profiles import key_news
from keyturn.cli.prompts import VaultUnlocker
from keyturn.model.errors import AgentHangs, AgentUnavailable
from keyturn.model.profile import RotationState, VaultState
from keyturn.storage.socket_paths import FORWARDED, forward_path


@click.group()
def agent() -> None:
    """The process that holds the open vault, so that it is unlocked once."""


@agent.command()
@opens_vault
def start(opening: VaultUnlocker) -> None:
    """Unlock the vault and start the agent, if none is running."""
    front = opening.keeper
    if front.snapshot().agent:
        say("The agent is running.")
        return
    if opening.given or front.desk.vault.state() is not VaultState.CLOSED:
        if front.desk.vault.state() is VaultState.ABSENT:
            opening.found()
        else:
            opening.unlock()
    else:
        front.unlock()
    if not front.snapshot().agent:
        raise AgentUnavailable("start of the agent", "none answers", "keyturn works without one, more slowly")
    say("The agent is running; the vault is open until it is locked, for 12 h at most.")


@agent.command()
def stop() -> None:
    """Stop the agent; the vault is locked then."""
    stopped = shutdown.lock(keeper().places.socket)
    say("The agent has ended, the vault is locked." if stopped else "No agent was running.")


@agent.command()
@as_json
def status(*, json_: bool) -> None:
    """Whether an agent runs, and since when; which keys are past their policy."""
    front = keeper()
    try:
        found = client.call(front.places.socket, {"op": "status"})
    except AgentHangs:
        raise
    except AgentUnavailable as error:
        if json_:
            emit({"running": False})
        else:
            say(f"No agent: {error.why}.")
        return
    rows = front.snapshot().profiles
    if json_:
        overdue = [row.name for row in rows if row.rotation.state is RotationState.OVERDUE and row.managed]
        waiting = {row.name: row.rotation.waits for row in rows if row.rotation.waits}
        emit({"running": True, **found, "overdue": overdue, "waiting": waiting})
    else:
        paused = "; renewal is paused" if found.get("paused") else ""
        say(
            f"Running, process {found['pid']}, keyturn {found['version']}; unlocked since {found['open_since']}{paused}."
        )
        for line in key_news(rows):
            say(line)


@agent.command()
def pause() -> None:
    """Renew nothing by itself until `agent resume`, or until the agent ends; clients that ask still get what is due."""
    keeper().pause(paused=True)
    say("Renewal is paused; keyturn agent resume ends that.")


@agent.command()
def resume() -> None:
    """Go on renewing what is in use and due."""
    keeper().pause(paused=False)
    say("Renewal goes on.")


@agent.command("unit")
@click.option("--launchd", is_flag=True, help="For macOS: a property list for ~/Library/LaunchAgents.")
def unit_(*, launchd: bool) -> None:
    """Print a systemd user unit that starts the agent at login, by the system keyring. Nothing is installed.

    \b
    keyturn agent unit > ~/.config/systemd/user/keyturn.service
    systemctl --user enable --now keyturn
    """
    program = keeper().desk.program()
    click.echo(unit.launchd_plist(program) if launchd else unit.systemd_unit(program), nl=False)


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
    front = keeper()
    names = front.desk.read().preferences.forward
    near = forward_path(front.desk.environ)
    private_folder(Path(near).parent)  # ssh would take whatever socket somebody else puts there
    click.echo(install.lines(host, near, at, names), nl=False)
    if not names:
        warn("no profile is forwarded yet: name some in `forward` of config.toml")
