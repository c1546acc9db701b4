"""Print the time to read both shared files, against botocore's own loader on the same files.

Run: `python tests/benchmarks/parse.py [PROFILES]`. Prints medians of nine rounds in processor time. The
budget is a ratio below 1 (reading and classifying every profile against botocore's reading alone).
"""

from __future__ import annotations

import gc
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from keyturn.awsconfig.loader import read_files
from keyturn.awsconfig.native_profiles import NativeProfiles

RUNS = 9


def write_files(folder: Path, count: int) -> tuple[Path, Path]:
    """Write profiles of the common kinds, a fifth each."""
    config: list[str] = [
        "[sso-session corp]\nsso_start_url = https://corp.awsapps.com/start\nsso_region = eu-west-1\n"
    ]
    credentials: list[str] = []
    for number in range(count):
        name = f"team-{number:05d}"
        head = f"[profile {name}]\nregion = eu-west-1\noutput = json\n"
        match number % 5:
            case 0:
                config.append(head)
                secret = f"{number:040d}"
                credentials.append(
                    f"[{name}]\naws_access_key_id = AKIASP2TPHJSQH{number:06d}\naws_secret_access_key = "
                    f"{secret}\n"
                )
            case 1:
                role = f"arn:aws:iam::111122223333:role/{name}"
                config.append(f"{head}role_arn = {role}\nsource_profile = team-{number - 1:05d}\n")
            case 2:
                config.append(
                    f"{head}sso_session = corp\nsso_account_id = 111122223333\nsso_role_name = Admin\n"
                )
            case 3:
                config.append(f'{head}credential_process = "/opt/tool" --profile {name}\n')
            case _:
                config.append(
                    f"# a comment\n{head}s3 =\n  max_concurrent_requests = 20\n  addressing_style = path\n"
                )
    files = folder / "config", folder / "credentials"
    files[0].write_text("\n".join(config))
    files[1].write_text("\n".join(credentials))
    return files


def seconds(run: Callable[[], object]) -> float:
    """Return the processor time of one run, from a clean heap."""
    gc.collect()
    start = time.process_time()
    run()
    return time.process_time() - start


def main() -> None:
    from botocore.session import Session

    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as name:
        config, credentials = write_files(Path(name), count)
        environ = {"HOME": name}
        os.environ["AWS_CONFIG_FILE"] = str(config)
        os.environ["AWS_SHARED_CREDENTIALS_FILE"] = str(credentials)
        rounds = [
            (
                seconds(lambda: read_files(config, credentials)),
                seconds(lambda: tuple(NativeProfiles(read_files(config, credentials), environ).values())),
                seconds(lambda: Session().full_config),
            )
            for _ in range(RUNS)
        ]
    reading, ours, theirs = (statistics.median(column) for column in zip(*rounds, strict=True))
    ratio = statistics.median(mine / other for _, mine, other in rounds)
    sys.stdout.write(
        f"{count} profiles: read {reading * 1000:.0f} ms, read and classified {ours * 1000:.0f} ms, "
        f"botocore's loader {theirs * 1000:.0f} ms, ratio {ratio:.2f}\n"
    )


if __name__ == "__main__":
    main()
