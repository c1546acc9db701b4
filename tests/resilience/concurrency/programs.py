"""Writers in processes of their own: keyturn's, and foreign ones."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path

from keyturn.awsconfig.document import FileKind, parse

#: Edits by keyturn's writer, one file after the other: a section of its own, and one that all of them edit.
WRITER = """
    import sys, time
    from pathlib import Path
    from keyturn.awsconfig.document import FileKind, set_items
    from keyturn.awsconfig.writer import SharedFiles

    locks, name, count, *paths = sys.argv[1:]
    files = SharedFiles(Path(locks), keep=lambda *_: None)
    for number in range(int(count)):
        for path in map(Path, paths):
            kind = FileKind.CREDENTIALS if path.name == "credentials" else FileKind.CONFIG
            section = name if number % 2 else "common"
            change = lambda doc: set_items(
                doc, section, {f"k_{name}_{number}": f"here at {time.monotonic_ns()}"}
            )
            files.edit(path, change, kind=kind)
"""

#: Edits by keyturn's writer of one file that others may break; prints the edits done, and the line of each
#: refusal.
REPORTING_WRITER = """
    import json, sys
    from pathlib import Path
    from keyturn.awsconfig.document import FileKind, set_items
    from keyturn.awsconfig.writer import SharedFiles
    from keyturn.model.errors import FileBusy, UnparsableFile

    locks, name, count, path = sys.argv[1:]
    files = SharedFiles(Path(locks), keep=lambda *_: None)
    done, refused = [], []
    for number in range(int(count)):
        key = f"k_{name}_{number}"
        section = name if number % 2 else "common"
        try:
            files.edit(Path(path), lambda doc: set_items(doc, section, {key: "here"}), kind=FileKind.CONFIG)
            done.append(key)
        except (UnparsableFile, FileBusy) as error:
            refused.append([error.exit_code, error.line()])
    print(json.dumps([done, refused]))
"""

#: Lock taken by the foreign writers while they read and write. Without it they break the file without
#: keyturn: while the script's truncated file is empty, `aws configure set` finds no section of its own and
#: appends a second one, which no AWS tool reads afterwards. Any loss in spite of turns is keyturn's.
TURN = """
    import fcntl
    from contextlib import contextmanager

    @contextmanager
    def turn(path):
        with open(path.parent.parent / "turn", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
"""


def with_line(data: bytes, number: int) -> bytes | None:
    """Return the file as a user's script changes it: one more line in its section. Return None for an empty
    file, which the script leaves alone."""
    if not data:
        return None
    before, header, after = data.partition(b"[foreign]\n")
    start = b"" if header or before.endswith(b"\n") else b"\n"
    return before + start + b"[foreign]\nf_%d = x\n" % number + after


#: A user's script: reads, truncates, waits 5 to 50 ms and writes until its folder holds a file `stop`.
SLOW_SCRIPT = (
    TURN
    + """
    import os, random, sys, time
    from pathlib import Path
    from keyturn.awsconfig.document import parse, set_items

    path, seed = Path(sys.argv[1]), int(sys.argv[2])
    rng = random.Random(seed)
    number = 0
    while not (path.parent.parent / "stop").exists():
        with turn(path):
            new = set_items(parse(path.read_bytes()), "foreign", {f"f_{number % 7}": str(number)})
            with path.open("wb", buffering=0) as file:
                time.sleep(rng.uniform(0.005, 0.05))
                file.write(new)
        number += 1
        time.sleep(rng.uniform(0.05, 0.2))
    print(number)
"""
)

#: The script without turns.
SLOW_SCRIPT_ALONE = """
    import random, sys, time
    from pathlib import Path
    sys.path.insert(0, sys.argv[3])
    from tests.resilience.concurrency.programs import with_line

    path, rng = Path(sys.argv[1]), random.Random(int(sys.argv[2]))
    number = 0
    while not (path.parent.parent / "stop").exists():
        new = with_line(path.read_bytes(), number)
        if new is not None:
            with path.open("wb", buffering=0) as file:
                time.sleep(rng.uniform(0.005, 0.05))
                file.write(new)
            number += 1
        time.sleep(rng.uniform(0.05, 0.2))
    print(number)
"""

#: `aws configure set`, repeated in one interpreter through its own command line until there is a file `stop`.
CLI = (
    TURN
    + """
    import sys
    from pathlib import Path
    from awscli.clidriver import create_clidriver

    path, name, most = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    number = done = 0
    while number < most and not (path.parent.parent / "stop").exists():
        command = ["configure", "set", f"c_{name}_{number}", "here", "--profile", name]
        with turn(path):  # creating it reads the files too
            done += create_clidriver().main(command) == 0
        number += 1
    print(done)
"""
)

#: `aws configure set` repeated as the program itself.
CLI_PROGRAM = (
    TURN
    + """
    import subprocess, sys, time
    from pathlib import Path

    path, name, most = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    aws = Path(sys.executable).with_name("aws")
    number = done = 0
    while number < most and not (path.parent.parent / "stop").exists():
        command = [aws, "configure", "set", f"c_{name}_{number}", "here", "--profile", name]
        with turn(path):
            done += subprocess.run(command, capture_output=True).returncode == 0
        time.sleep(0.02)
        number += 1
    print(done)
"""
)

#: The command line in one interpreter without turns, until there is a file `stop`. `{number}` in the name
#: makes it a new profile each time.
CLI_ALONE = """
    import os, sys
    from pathlib import Path
    from awscli.clidriver import create_clidriver

    name, most = sys.argv[1], int(sys.argv[2])
    stop = Path(os.environ["AWS_CONFIG_FILE"]).parent.parent / "stop"
    number = done = 0
    while number < most and not stop.exists():
        command = ["configure", "set", f"c_{name[0]}_{number}", "here"]
        try:
            done += create_clidriver().main([*command, "--profile", name.format(number=number)]) == 0
        except Exception:  # it ends with a traceback where the others left a file that cannot be read
            pass
        number += 1
    print(done)
"""

#: The program itself without turns.
CLI_PROGRAM_ALONE = """
    import os, subprocess, sys, time
    from pathlib import Path

    name, most = sys.argv[1], int(sys.argv[2])
    stop = Path(os.environ["AWS_CONFIG_FILE"]).parent.parent / "stop"
    aws = Path(sys.executable).with_name("aws")
    number = done = 0
    while number < most and not stop.exists():
        profile = name.format(number=number)
        command = [aws, "configure", "set", f"c_{name[0]}_{number}", "here", "--profile", profile]
        done += subprocess.run(command, capture_output=True).returncode == 0
        time.sleep(0.02)
        number += 1
    print(done)
"""

#: Reads with botocore's own parser until there is a file `stop`, or a number of times; prints the reads and
#: the torn reads.
READER = """
    import configparser, sys
    from pathlib import Path
    from botocore.configloader import raw_config_parse

    path, most, names = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3].split(",")
    reads = torn = 0
    while reads < most or not (path.parent.parent / "stop").exists():
        reads += 1
        try:
            found = raw_config_parse(str(path), parse_subsections=False)
            torn += any(found[name] != {"region": "eu-west-1"} for name in names)
        except Exception:
            torn += 1
        if reads >= most and (path.parent.parent / "stop").exists():
            break
    print(reads, torn)
"""


def environment(path: Path) -> dict[str, str]:
    """Return the environment of a user whose shared config file is `path`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return kept | {
        "AWS_CONFIG_FILE": str(path),
        "AWS_SHARED_CREDENTIALS_FILE": str(path.with_name("credentials")),
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def start(script: str, *arguments: object, environ: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ)


def finish(processes: Iterable[subprocess.Popen[str]], seconds: float = 100) -> list[str]:
    """Wait until all processes have exited with 0 and return their outputs."""
    printed = []
    for process in processes:
        out, errors = process.communicate(timeout=seconds)
        assert process.returncode == 0, errors
        printed.append(out)
    return printed


def keys_of(path: Path, kind: FileKind = FileKind.CONFIG) -> set[str]:
    document = parse(path.read_bytes(), str(path), kind)
    return {item.key for section in document.sections for item in section.items}
