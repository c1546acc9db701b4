"""Text from AWS, from an impostor and from foreign programs is shown as text and never obeyed."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

import pytest

from tests.adversarial.hostile_input import forwarded_texts
from tests.adversarial.hostile_input.corpus import MESSAGES, NAMES, as_argument, spread
from tests.adversarial.hostile_input.test_hostile_arguments import CREDENTIALS
from tests.adversarial.hostile_input.verbs import PASSPHRASE, VerbRunner
from tests.end_to_end.person import WEAK_KEYTURN

CONFIG = """\
[profile ci]
region = eu-west-1

[profile role]
role_arn = arn:aws:iam::123456789012:role/Deploy
source_profile = ci
region = eu-west-1

[profile tool]
credential_process = {tool}
"""
#: Prints the contents of two files and exits with the code in a third one.
TOOL = """#!/bin/sh
cat "{folder}/out"
cat "{folder}/err" >&2
exit "$(cat "{folder}/code")"
"""
_NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"


class Script:
    """Answers every STS and IAM call with a text in the fields whose content other people choose."""

    def __init__(self) -> None:
        self.text = "arn:aws:sts::123456789012:assumed-role/Deploy/x"
        self.mode = "fine"
        self.calls = 0

    def answer(self, action: str) -> tuple[int, bytes]:
        self.calls += 1
        text_shown = escape(self.text)
        if self.mode == "raw":
            return 200, self.text.encode(
                "utf-8", "surrogateescape" if _is_raw(self.text) else "surrogatepass"
            )
        if self.mode == "refused":
            error = f"<Type>Sender</Type><Code>{text_shown}</Code><Message>{text_shown}</Message>"
            body = (
                f"<ErrorResponse "
                f'xmlns="{_NAMESPACE}"><Error>{error}</Error><RequestId>{text_shown}</RequestId></ErrorResponse>'
            )
            return 400, body.encode("utf-8", "surrogatepass")
        session = (
            "<Credentials><AccessKeyId>ASIAQQQQQQQQQQQQQQQQ</AccessKeyId><SecretAccessKey>wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY01</SecretAccessKey>"
            "<SessionToken>FwoGZXIvYXdzEXAMPLETOKEN</SessionToken>"
            f"<Expiration>{datetime.now(UTC) + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}</Expiration>"
            "</Credentials>"
        )
        inner = {
            "GetSessionToken": session,
            "AssumeRole": (
                f"{session}<AssumedRoleUser><Arn>{text_shown}</Arn>"
                f"<AssumedRoleId>{text_shown}</AssumedRoleId></AssumedRoleUser>"
            ),
            "GetCallerIdentity": (
                f"<Arn>{text_shown}</Arn><UserId>{text_shown}</UserId><Account>{text_shown}</Account>"
            ),
            "ListAccessKeys": (
                f"<AccessKeyMetadata><member><UserName>{text_shown}</UserName>"
                f"<AccessKeyId>AKIAQQQQQQQQQQQQQQQQ</AccessKeyId><Status>{text_shown}</Status>"
                "<CreateDate>2026-01-01T00:00:00Z</CreateDate></member></AccessKeyMetadata>"
            ),
        }.get(action, "")
        body = (
            f"<{action}Response "
            f'xmlns="{_NAMESPACE}"><{action}Result>{inner}</{action}Result></{action}Response>'
        )
        return 200, body.encode("utf-8", "surrogatepass")


def _is_raw(text: str) -> bool:
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def scripted_aws() -> Iterator[tuple[Script, str]]:
    """Run a server on loopback that follows a script, and yield it with its URL."""
    script = Script()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            status, body = script.answer(request["Action"][0])
            self.send_response(status)
            self.send_header("Content-Type", "text/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's own name
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield script, f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def adopted_machine(folder: Path) -> Iterator[tuple[VerbRunner, Script]]:
    """Return a machine on which keyturn manages `ci` and `role`, with an open vault and the script as AWS."""
    with scripted_aws() as (script, url):
        extra = {"AWS_ENDPOINT_URL_STS": url, "AWS_ENDPOINT_URL_IAM": url, "AWS_MAX_ATTEMPTS": "1"}
        with VerbRunner(folder, extra) as machine:
            tool = folder / "tool"
            tool.write_text(TOOL.format(folder=folder))
            tool.chmod(0o700)
            machine.config.write_text(CONFIG.format(tool=tool))
            machine.credentials.write_text(CREDENTIALS)
            read, write = os.pipe()
            os.write(write, PASSPHRASE.encode())
            os.close(write)
            words = [*WEAK_KEYTURN, "vault", "init", "--slot", "passphrase", "--passphrase-fd", str(read)]
            subprocess.run(words, env=machine.environ, pass_fds=[read], check=True, capture_output=True)
            os.close(read)
            assert machine.call("adopt", "ci", "--yes").code == 0
            assert machine.call("refresh", "ci", "role").code == 0
            yield machine, script


def answers(machine: VerbRunner, script: Script, texts: tuple[str, ...]) -> None:
    """Answer with each of `texts` as an error, as names in a valid answer, and as the whole answer."""
    before = script.calls
    for nth, text in enumerate(texts):
        script.text = text
        for mode in ("refused", "fine", "raw"):
            script.mode = mode
            result = machine.call_checked("refresh", "ci", "role")
            machine.check(
                wrong=result.code == 0 and mode != "fine", what=f"{text[:50]!a} passed for a session ({mode})"
            )
            machine.call_checked(*(("list",), ("show", "role"), ("show", "ci"), ("list", "--json"))[nth % 4])
        script.mode = ("refused", "fine", "raw")[nth % 3]
        machine.call_checked("refresh", "--json", "ci", "role")
        machine.call_checked("credential-process", "role")
    assert script.calls >= before + 4 * len(texts), "AWS was asked each time"


def processes(machine: VerbRunner, texts: tuple[str, ...]) -> None:
    """Put each of `texts` on stdout and stderr of a foreign `credential_process`, and in the fields of its
    document."""
    (machine.folder / "code").write_text("0")
    for nth, text in enumerate(texts):
        document = {
            "Version": 1,
            **dict.fromkeys(("AccessKeyId", "SecretAccessKey", "SessionToken", "AccountId"), text),
        }
        end = (text, "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "2036-01-01T00:00:00Z")[nth % 4]
        for out, code in (
            (json.dumps({**document, "Expiration": end}), "0"),
            (text, "1" if nth % 2 else "0"),
        ):
            (machine.folder / "out").write_text(out, "utf-8", "surrogatepass")
            (machine.folder / "err").write_text(text, "utf-8", "surrogatepass")
            (machine.folder / "code").write_text(code)
            machine.call_checked(*(("refresh", "tool"), ("refresh", "tool", "--json"))[nth % 2])
        machine.call_checked("show", "tool")
    for out in (
        "[]",
        "5",
        "null",
        '"x"',
        "{}",
        '{"Version": 1}',
        "[" * 3000,
        '{"Version": 1, "AccessKeyId": []}',
    ):
        (machine.folder / "out").write_text(out)
        (machine.folder / "code").write_text("0")
        machine.call_checked("refresh", "tool")


#: Keys that `keyturn set` accepts.
SETTINGS = (
    "region", "renew", "duration", "mfa_serial", "external_id", "role_session_name", "source_identity",
    "tags", "transitive_tags",
    "policy", "policy_arns", "rotation_days", "session",
)  # fmt: skip


def settings(machine: VerbRunner, script: Script, texts: tuple[str, ...]) -> None:
    """Use each of `texts` as value and as key of a setting, and refresh with that setting."""
    for nth, text in enumerate(texts):
        script.mode = ("fine", "refused")[nth % 2]
        for key in spread(SETTINGS[nth % 3 :], 4):
            result = machine.call_checked("set", "role", "--yes", "--json", f"{key}={text}")
            machine.call_checked("show", "role")
            if result.code == 0:
                machine.call_checked("refresh", "role")
                machine.call_checked("set", "role", "--yes", f"{key}=")
        machine.call_checked("set", "role", "--yes", text)
    assert machine.call("show", "role").code == 0


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[VerbRunner, Script]]:
    with adopted_machine(tmp_path / "machine") as found:
        yield found


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[VerbRunner, Script]]:
    """Share one machine among the samples that run every time."""
    with adopted_machine(tmp_path_factory.mktemp("shared") / "machine") as found:
        yield found


def test_a_text_from_aws_from_a_foreign_process_and_in_a_setting(
    shared: tuple[VerbRunner, Script], record_property: Callable[[str, object], None]
) -> None:
    answers(*shared, spread(MESSAGES, 4))
    processes(shared[0], spread(NAMES, 4))
    settings(*shared, spread(tuple(as_argument(NAMES)), 3))
    shared[0].assert_harmless(record_property, 11)


def test_a_text_where_sessions_are_lent_on(
    shared: tuple[VerbRunner, Script], record_property: Callable[[str, object], None]
) -> None:
    machine, script = shared
    script.mode, script.text = "fine", Script().text
    forwarded_texts.requests(machine, spread(MESSAGES, 30))
    forwarded_texts.check_endpoint_texts(machine, spread(MESSAGES, 60))
    forwarded_texts.programs(machine, ("x[b]y",))
    forwarded_texts.check_remote_requests(machine, spread(MESSAGES, 40))
    forwarded_texts.check_local_answers(machine, spread(NAMES, 4))
    forwarded_texts.check_printed_lines(machine, ("x\nProxyCommand y", "\x1b]52;c;aGk=\x07", 'x"y'))
    machine.assert_harmless(record_property, 60)


@pytest.mark.campaign
@pytest.mark.timeout(1200)
def test_every_text_in_the_place_of_aws(
    place: tuple[VerbRunner, Script], record_property: Callable[[str, object], None]
) -> None:
    answers(*place, MESSAGES)
    place[0].assert_harmless(record_property, len(MESSAGES))


@pytest.mark.campaign
@pytest.mark.timeout(1200)
def test_every_text_from_a_foreign_process(
    place: tuple[VerbRunner, Script], record_property: Callable[[str, object], None]
) -> None:
    processes(place[0], MESSAGES)
    place[0].assert_harmless(record_property, len(MESSAGES))


@pytest.mark.campaign
@pytest.mark.timeout(1200)
def test_every_text_in_a_setting(
    place: tuple[VerbRunner, Script], record_property: Callable[[str, object], None]
) -> None:
    texts = tuple(as_argument(NAMES))
    settings(*place, texts)
    place[0].assert_harmless(record_property, len(texts))
