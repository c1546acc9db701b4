"""The acts that furnish a home, and what every verb prints on the way."""

from __future__ import annotations

import json
import sys
from functools import partial

from tests.golden import holdings
from tests.golden.book import Book, told
from tests.golden.home import Home
from tests.golden.loaded import Loads

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


def helps(book: Book) -> None:
    """Record `--help` of every verb and group."""
    for words in (("--help",), ("-h",), ("-V",), ("--version",)):
        book.run("help.txt", *words)
    for verb in VERBS:
        book.run("help.txt", *verb.split(), "--help")


def looks(book: Book, page: str, *, all_: bool = False) -> None:
    """Record what can be seen without changing anything.

    :param all_: more than what changes from one look to the next.
    """

    def one(words: tuple[str, ...]) -> tuple[str, str]:
        book.home.look_now()
        return page, told(words, book.home.run(*words))

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
    book.together(partial(one, words) for words in ((*few, *more) if all_ else few))


def found_vault(book: Book) -> str:
    """Make the vault; give its recovery key."""
    home = book.home
    home.act_now()
    words = ("vault", "init", "--passphrase-fd", "3", "--recovery-out-fd", "4")
    recovery = home.said / "recovery"
    done = home.run(*words, fds=PASSPHRASE, out_fds={4: recovery})
    recovery.chmod(0o600)
    book.add("acts.txt", told(words, done, fds=PASSPHRASE, note="4>recovery"))
    book.act("acts.txt", "agent", "pause")
    return recovery.read_text("ascii").strip()


def furnish(book: Book) -> None:
    """Adopt, set, refresh, deliver, hand over, rotate."""
    act = partial(book.act, "acts.txt")
    act("adopt", "ci-deploy", "--plan")
    act("adopt", "ci-deploy", "acme-alice", "--yes")
    act("adopt", "acme-build", "--yes")
    act("adopt", "personal", "--session-none", "--yes")
    act("adopt", "gov-ops", "--yes")
    act("adopt", "stale", "--yes")
    act("adopt", "asker", "--yes")
    for name in _ON_DEMAND:
        act("set", name, "renew=on-demand")
    act("set", "ci-audit", "duration=2h", "tags=team=ops,stage=prod", "transitive_tags=team", "--json")
    act("set", "ci-audit", "tags=", "transitive_tags=")
    act(
        "set",
        "ci-release",
        (
            'policy={"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": '
            '"*"}]}'
        ),
        "region=eu-west-2",
    )
    act("set", "ci-release", "policy=")
    act("set", "acme-build", "rotation_days=30", "rotate=auto", "renew=off", "--json")
    act("set", "acme-build", "rotate=ask", "renew=on-demand")
    act("set", "contractor", "region=eu-west-3")
    act("set", "acme-alice", "mfa_serial=choose")
    act("refresh", "ci-deploy")
    act("refresh", "ci-release", "ci-audit", "--json")
    act("refresh", "acme-spoke-logs")
    book.home.act_now()
    code = book.home.tool("totp", "alice")
    book.run("acts.txt", "refresh", "prod-admin", "--mfa-code", code, hidden=(code,))
    book.home.act_now()
    code = book.home.tool("totp", "alice")
    book.run("acts.txt", "refresh", "acme-alice", "--mfa-code", code, "--json", hidden=(code,))
    act("refresh", "--due")
    act("refresh", "--due", "--json")
    act("refresh", note="AWS_PROFILE=ci-deploy", extra={"AWS_PROFILE": "ci-deploy"})
    act("deliver", "ci-release", "--to", "credentials-file")
    act("deliver", "ci-audit", "--to", "credentials-file", "--as", "tooling")
    act("deliver", "acme-hub", "--to", "nowhere")
    act("deliver", "acme-batch", "--to", "credentials-file")
    act("deliver", "acme-batch", "--to", "credential-process")
    act("stop", "acme-spoke-logs")
    act("stop", "acme-spoke-logs", note="again")
    for name in ("ci-deploy", "ci-release", "personal", "acme-spoke"):
        act("credential-process", name)
    for shell in ("sh", "fish", "powershell"):
        act("env", "ci-release", "--shell", shell)
    act("env", "personal", "--min-left", "10m")
    act("exec", "ci-release", "--min-left", "45m", "--", "/bin/sh", "-c", _AWS_VARIABLES)
    book.home.act_now()
    done = book.home.run("exec", "ci-release", "--endpoint", "--", sys.executable, "-c", _ASKS)
    book.add("acts.txt", told(("exec", "ci-release", "--endpoint", "--", "(a program that asks it)"), done))
    looks(book, "looks-furnished.txt", all_=True)
    loads = Loads(book)
    for title, words in (
        ("--version", ("--version",)), ("list", ("list",)), ("list --json", ("list", "--json")),
        ("credential-process, agent running", ("credential-process", "ci-release")),
        ("credential-process, unknown", ("credential-process", "nobody")),
        ("refresh", ("refresh", "ci-deploy")), ("vault status", ("vault", "status")),
        ("agent status", ("agent", "status")), ("rotate --status", ("rotate", "ci-deploy", "--status")),
        ("set", ("set", "ci-deploy")), ("--help", ("--help",)), ("env", ("env", "ci-release")),
        ("exec", ("exec", "ci-release", "--", "/bin/true")), ("app without a terminal", ()),
    ):  # fmt: skip
        loads.keep(title, words)


def rotate(book: Book) -> None:
    """Rotate one key to its end but for the deletion, one back, lose the answer about one."""
    act = partial(book.act, "acts.txt")
    act("rotate", "ci-deploy", "--status")
    act("rotate", "ci-deploy", "--policy")
    act("rotate", "acme-alice", "--policy")
    act("rotate", "ci-deploy", "--yes")
    look = partial(book.look, "acts.txt")
    look("rotate", "ci-deploy", "--status")
    look("rotate", "ci-deploy", "--status", "--json")
    look("rotate", "ci-deploy", "--finish", note="before its time")
    look("rotate", "ci-deploy", "--finish", "--confirm", "AAAA")
    look("rotate", "ci-deploy", "--yes", note="again")
    act("rotate", "acme-build", "--yes", "--json")
    act("rotate", "acme-build", "--undo", "--yes")
    act("rotate", "acme-build", "--status")
    book.home.act_now()
    book.home.fault("CreateAccessKey", "answer-lost")
    book.run("acts.txt", "rotate", "personal", "--yes", note="the answer to CreateAccessKey is lost")
    status = book.look("acts.txt", "rotate", "personal", "--status", "--json")
    act("rotate", "personal", "--drop", "AAAA")
    for key in status.table()["keys"]:
        if key["held"] is None:
            act("rotate", "personal", "--drop", key["key_id"][-4:])


def end(book: Book, identity: str) -> None:
    """Go on a day later: what was delivered has ended, the old key goes, one profile is given back."""
    home = book.home
    act = partial(book.act, "acts.txt")
    act("vault", "lock")
    home.at(home.minute + 25 * 60)
    looks(book, "looks-next-day.txt")
    before = _checked(home)
    act("vault", "unlock", "--passphrase-fd", "3", fds=PASSPHRASE)
    home.until(lambda: not before.items() & _checked(home).items())
    act("agent", "pause")
    book.look("acts.txt", "rotate", "ci-deploy", "--finish", note="without the word")
    status = book.look("acts.txt", "rotate", "ci-deploy", "--status", "--json")
    old = next(key["key_id"] for key in status.table()["keys"] if key["held"] == "previous")
    act("rotate", "ci-deploy", "--finish", "--confirm", old[-4:])
    act("release", "acme-alice", "--plan")
    act("release", "acme-alice", "--yes", "--passphrase-fd", "3", fds=PASSPHRASE)
    act("refresh", "ci-release")
    looks(book, "looks-end.txt")
    act("agent", "unit")
    act("agent", "unit", "--launchd")
    act("agent", "ssh-config", "build-box")
    holdings.keep(book, "home-end", identity)
    act("agent", "resume")
    act("agent", "stop")
    act("agent", "stop", note="again")


def _checked(home: Home) -> dict[str, str]:
    """Return the time of the last IAM check by managed key. An agent makes that check first, in its own
    time."""
    keys = json.loads((home.own / "state" / "index.json").read_text("utf-8"))["keys"]
    return {name: str(key["checked"]) for name, key in keys.items()}
