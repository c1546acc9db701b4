"""The commands that fill a home with profiles, rotations and sessions, and the output of each."""

from __future__ import annotations

import json
import sys
from functools import partial

from tests.golden import home_files
from tests.golden.home import Home
from tests.golden.loaded import Loads
from tests.golden.recording import Recording, run_text

VERBS = (
    "list", "show", "adopt", "release", "refresh", "stop", "deliver", "credential-process", "exec", "env",
    "set",
    "rotate", "vault", "vault init", "vault unlock", "vault lock", "vault status", "vault recovery-key",
    "vault passphrase", "vault reset-passphrase", "vault restore", "vault export", "vault import", "agent",
    "agent start", "agent stop", "agent status", "agent pause", "agent resume", "agent unit",
    "agent ssh-config",
)  # fmt: skip
PASSPHRASE = {3: "passphrase"}
_AWS_VARIABLES = 'env | grep -E "^(AWS|KEYTURN)" | sort'
_ASKS = """
import os, urllib.error, urllib.request
for name, value in sorted(os.environ.items()):
    if name.startswith(("AWS_CONTAINER", "AWS_REGION", "KEYTURN_PROFILE")):
        print(f"{name}={value}")
url = os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"]
token = open(os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"]).read().strip()
print(len(token), len(url.rpartition("/")[2]))
for address, word in ((url, token), (url, "another"), (url + "x", token)):
    try:
        request = urllib.request.Request(address, headers={"Authorization": word})
        with urllib.request.urlopen(request) as answer:
            print(answer.status, sorted(answer.headers.items()), answer.read().decode())
    except urllib.error.HTTPError as error:
        print(error.code, sorted(error.headers.items()), error.read().decode())
raise SystemExit(7)
"""
#: On demand, so that the agent renews nothing at a moment of its own choosing.
_ON_DEMAND = (
    "ci-deploy",
    "ci-release",
    "ci-audit",
    "acme-build",
    "acme-spoke",
    "acme-alice",
    "prod-admin",
    "personal",
)


def record_help(recording: Recording) -> None:
    """Record `--help` of every verb and group."""
    for words in (("--help",), ("-h",), ("-V",), ("--version",)):
        recording.run("help.txt", *words)
    for verb in VERBS:
        recording.run("help.txt", *verb.split(), "--help")


def record_queries(recording: Recording, page: str, *, all_: bool = False) -> None:
    """Record what can be seen without changing anything.

    :param all_: more than what changes from one query to the next.
    """

    def one(words: tuple[str, ...]) -> tuple[str, str]:
        recording.home.wait_for_mid_minute()
        return page, run_text(words, recording.home.run(*words))

    few = (
        ("list",), ("list", "--json"), ("show", "ci-deploy"), ("show", "ci-audit"), ("vault", "status"),
        ("agent", "status"), ("agent", "status", "--json"),
    )  # fmt: skip
    more = (
        ("list", "--filter", "type:role !prod"), ("list", "--filter", "nothing"), ("show", "ci-deploy",
        "--json"),
        ("show", "prod-admin"), ("show", "acme-spoke-logs"), ("show", "personal"), ("show", "contractor"),
        ("show", "old-cluster"), ("show", "loop-a"), ("show", "acme-dev-readonly"), ("set", "ci-deploy"),
        ("set", "ci-audit", "--json"), ("vault", "status", "--json"),
    )  # fmt: skip
    recording.together(partial(one, words) for words in ((*few, *more) if all_ else few))


def create_vault(recording: Recording) -> str:
    """Make the vault; give its recovery key."""
    home = recording.home
    home.wait_for_next_minute()
    words = ("vault", "init", "--passphrase-fd", "3", "--recovery-out-fd", "4")
    recovery = home.said / "recovery"
    done = home.run(*words, fds=PASSPHRASE, out_fds={4: recovery})
    recovery.chmod(0o600)
    recording.add("acts.txt", run_text(words, done, fds=PASSPHRASE, note="4>recovery"))
    recording.change("acts.txt", "agent", "pause")
    return recovery.read_text("ascii").strip()


def furnish(recording: Recording) -> None:
    """Adopt, set, refresh, deliver, hand over, rotate."""
    change = partial(recording.change, "acts.txt")
    change("adopt", "ci-deploy", "--plan")
    change("adopt", "ci-deploy", "acme-alice", "--yes")
    change("adopt", "acme-build", "--yes")
    change("adopt", "personal", "--session-none", "--yes")
    change("adopt", "gov-ops", "--yes")
    change("adopt", "stale", "--yes")
    change("adopt", "asker", "--yes")
    for name in _ON_DEMAND:
        change("set", name, "renew=on-demand")
    change("set", "ci-audit", "duration=2h", "tags=team=ops,stage=prod", "transitive_tags=team", "--json")
    change("set", "ci-audit", "tags=", "transitive_tags=")
    change(
        "set",
        "ci-release",
        (
            'policy={"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": '
            '"*"}]}'
        ),
        "region=eu-west-2",
    )
    change("set", "ci-release", "policy=")
    change("set", "acme-build", "rotation_days=30", "rotate=auto", "renew=off", "--json")
    change("set", "acme-build", "rotate=ask", "renew=on-demand")
    change("set", "contractor", "region=eu-west-3")
    change("set", "acme-alice", "mfa_serial=choose")
    change("refresh", "ci-deploy")
    change("refresh", "ci-release", "ci-audit", "--json")
    change("refresh", "acme-spoke-logs")
    recording.home.wait_for_next_minute()
    code = recording.home.tool("totp", "alice")
    recording.run("acts.txt", "refresh", "prod-admin", "--mfa-code", code, hidden=(code,))
    recording.home.wait_for_next_minute()
    code = recording.home.tool("totp", "alice")
    recording.run("acts.txt", "refresh", "acme-alice", "--mfa-code", code, "--json", hidden=(code,))
    change("refresh", "--due")
    change("refresh", "--due", "--json")
    change("refresh", note="AWS_PROFILE=ci-deploy", extra={"AWS_PROFILE": "ci-deploy"})
    change("deliver", "ci-release", "--to", "credentials-file")
    change("deliver", "ci-audit", "--to", "credentials-file", "--as", "tooling")
    change("deliver", "acme-hub", "--to", "nowhere")
    change("deliver", "acme-batch", "--to", "credentials-file")
    change("deliver", "acme-batch", "--to", "credential-process")
    change("stop", "acme-spoke-logs")
    change("stop", "acme-spoke-logs", note="again")
    for name in ("ci-deploy", "ci-release", "personal", "acme-spoke"):
        change("credential-process", name)
    for shell in ("sh", "fish", "powershell"):
        change("env", "ci-release", "--shell", shell)
    change("env", "personal", "--min-left", "10m")
    change("exec", "ci-release", "--min-left", "45m", "--", "/bin/sh", "-c", _AWS_VARIABLES)
    recording.home.wait_for_next_minute()
    done = recording.home.run("exec", "ci-release", "--endpoint", "--", sys.executable, "-c", _ASKS)
    recording.add(
        "acts.txt", run_text(("exec", "ci-release", "--endpoint", "--", "(a program that asks it)"), done)
    )
    record_queries(recording, "looks-furnished.txt", all_=True)
    loads = Loads(recording)
    for title, words in (
        ("--version", ("--version",)), ("list", ("list",)), ("list --json", ("list", "--json")),
        ("credential-process, agent running", ("credential-process", "ci-release")),
        ("credential-process, unknown", ("credential-process", "nobody")),
        ("refresh", ("refresh", "ci-deploy")), ("vault status", ("vault", "status")),
        ("agent status", ("agent", "status")), ("rotate --status", ("rotate", "ci-deploy", "--status")),
        ("set", ("set", "ci-deploy")), ("--help", ("--help",)), ("env", ("env", "ci-release")),
        ("exec", ("exec", "ci-release", "--", "/bin/true")), ("app without a terminal", ()),
    ):  # fmt: skip
        loads.record(title, words)


def rotate(recording: Recording) -> None:
    """Rotate one key to its end but for the deletion, one back, lose the answer about one."""
    change = partial(recording.change, "acts.txt")
    change("rotate", "ci-deploy", "--status")
    change("rotate", "ci-deploy", "--policy")
    change("rotate", "acme-alice", "--policy")
    change("rotate", "ci-deploy", "--yes")
    query = partial(recording.query, "acts.txt")
    query("rotate", "ci-deploy", "--status")
    query("rotate", "ci-deploy", "--status", "--json")
    query("rotate", "ci-deploy", "--finish", note="before its time")
    query("rotate", "ci-deploy", "--finish", "--confirm", "AAAA")
    query("rotate", "ci-deploy", "--yes", note="again")
    change("rotate", "acme-build", "--yes", "--json")
    change("rotate", "acme-build", "--undo", "--yes")
    change("rotate", "acme-build", "--status")
    recording.home.wait_for_next_minute()
    recording.home.fault("CreateAccessKey", "answer-lost")
    recording.run("acts.txt", "rotate", "personal", "--yes", note="the answer to CreateAccessKey is lost")
    status = recording.query("acts.txt", "rotate", "personal", "--status", "--json")
    change("rotate", "personal", "--drop", "AAAA")
    for key in status.table()["keys"]:
        if key["held"] is None:
            change("rotate", "personal", "--drop", key["key_id"][-4:])


def end(recording: Recording, identity: str) -> None:
    """Go on a day later: what was delivered has ended, the old key goes, one profile is given back."""
    home = recording.home
    change = partial(recording.change, "acts.txt")
    change("vault", "lock")
    home.at(home.minute + 25 * 60)
    record_queries(recording, "looks-next-day.txt")
    before = _checked(home)
    change("vault", "unlock", "--passphrase-fd", "3", fds=PASSPHRASE)
    home.until(lambda: not before.items() & _checked(home).items())
    change("agent", "pause")
    recording.query("acts.txt", "rotate", "ci-deploy", "--finish", note="without the word")
    status = recording.query("acts.txt", "rotate", "ci-deploy", "--status", "--json")
    old = next(key["key_id"] for key in status.table()["keys"] if key["held"] == "previous")
    change("rotate", "ci-deploy", "--finish", "--confirm", old[-4:])
    change("release", "acme-alice", "--plan")
    change("release", "acme-alice", "--yes", "--passphrase-fd", "3", fds=PASSPHRASE)
    change("refresh", "ci-release")
    record_queries(recording, "looks-end.txt")
    change("agent", "unit")
    change("agent", "unit", "--launchd")
    change("agent", "ssh-config", "build-box")
    home_files.record(recording, "home-end", identity)
    change("agent", "resume")
    change("agent", "stop")
    change("agent", "stop", note="again")


def _checked(home: Home) -> dict[str, str]:
    """Return the time of the last IAM check by managed key. An agent makes that check first, in its own
    time."""
    keys = json.loads((home.own / "state" / "index.json").read_text("utf-8"))["keys"]
    return {name: str(key["checked"]) for name, key in keys.items()}
