"""The declared dependencies, the lock file, the SBOM and what SECURITY.md says of them agree."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.needs import PACKAGES

ROOT = Path(__file__).resolve().parents[1]
LOCK = (ROOT / "core" / "requirements.lock").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
SECURITY = (ROOT / ".github" / "SECURITY.md").read_text("utf-8")
RUN = (ROOT / ".ci" / "run").read_text("utf-8")
CONTRIBUTING = (ROOT / ".github" / "CONTRIBUTING.md").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")


@cache
def locked() -> dict[str, tuple[Requirement, int]]:
    """Return each requirement of the lock file by name, with its number of SHA-256 digests."""
    found = {}
    for block in re.split(r"\n(?=[a-z0-9])", LOCK):
        if block.startswith("#"):
            continue
        requirement = Requirement(block.split(" \\\n")[0])
        found[requirement.name] = (requirement, len(re.findall(r"--hash=sha256:[0-9a-f]{64}\b", block)))
    return found


def version_of(name: str) -> str:
    """Return the locked version of a package."""
    return str(locked()[name][0].specifier).removeprefix("==")


@cache
def sbom() -> dict[str, Any]:
    """Return what `.ci/run sbom` prints."""
    command = [sys.executable, "-W", "error", str(ROOT / ".ci" / "sbom.py")]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    bom: dict[str, Any] = json.loads(text)
    return bom


def test_the_lock_has_a_version_within_the_bounds_of_each_dependency() -> None:
    for line in PROJECT["dependencies"]:
        wanted = Requirement(line)
        assert wanted.specifier.contains(version_of(wanted.name)), line


def test_each_locked_package_has_one_exact_version_and_a_hash() -> None:
    assert len(locked()) > len(PROJECT["dependencies"])
    for name, (requirement, digests) in locked().items():
        assert re.fullmatch(r"==\d[\w.]*", str(requirement.specifier)), name
        assert digests >= 1, name


def test_the_lock_names_no_address_and_no_path() -> None:
    assert "://" not in LOCK
    assert not re.search(r"(?m)^\s*-(?!-hash=)", LOCK)
    assert not re.search(r"(?:^|\s)/\w", LOCK)


def test_what_the_installed_packages_need_is_locked() -> None:
    """Only where the installed version is the locked one, because another may need other packages."""
    checked = 0
    for name, (requirement, _) in locked().items():
        if requirement.marker and not requirement.marker.evaluate():
            continue
        if metadata.version(name) != version_of(name):
            continue
        checked += 1
        for line in metadata.requires(name) or ():
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                assert canonicalize_name(needed.name) in locked(), (name, line)
    assert checked > 0


def test_the_sbom_conforms_to_the_schema() -> None:
    assert sbom()["specVersion"] == "1.6"
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(sbom())) is None


def test_the_sbom_has_each_locked_package_with_its_hashes() -> None:
    components = {component["name"]: component for component in sbom()["components"]}
    assert components.keys() == locked().keys()
    for name, component in components.items():
        assert component["version"] == version_of(name)
        assert component["purl"] == f"pkg:pypi/{name}@{version_of(name)}"
        hashes = component["externalReferences"][0]["hashes"]
        assert len(hashes) == locked()[name][1]
        assert {entry["alg"] for entry in hashes} == {"SHA-256"}
        assert all(entry["content"] in LOCK for entry in hashes)


def test_the_sbom_tells_which_package_brings_which() -> None:
    needs = {entry["ref"]: set(entry.get("dependsOn", ())) for entry in sbom()["dependencies"]}
    assert needs[PROJECT["name"]] == {
        f"pkg:pypi/{name}@{version_of(name)}"
        for name in (Requirement(line).name for line in PROJECT["dependencies"])
    }
    reached: set[str] = set()
    pending = [PROJECT["name"]]
    while pending:
        new = needs[pending.pop()] - reached
        reached |= new
        pending += new
    assert reached == {component["purl"] for component in sbom()["components"]}


def test_the_sbom_knows_the_licences_of_what_is_installed() -> None:
    components = {component["name"]: component for component in sbom()["components"]}
    licensed = {name for name, component in components.items() if component.get("licenses")}
    declared = {
        name
        for name in components
        if _is_installed(name) and metadata.metadata(name).get_all("License-Expression")
    }
    assert declared <= licensed
    assert sbom()["metadata"]["component"]["licenses"] == [{"license": {"id": PROJECT["license"]}}]


def _is_installed(name: str) -> bool:
    try:
        return metadata.version(name) == version_of(name)
    except metadata.PackageNotFoundError:
        return False


def test_the_security_policy_speaks_of_the_locked_pyrage() -> None:
    assert re.findall(r"pyrage (\d[\d.]*\d)", SECURITY) == [version_of("pyrage")]


def test_the_security_policy_names_the_crates_that_pyrage_brings() -> None:
    """The wheel of pyrage has an SBOM of its own."""
    if metadata.version("pyrage") != version_of("pyrage"):
        pytest.skip(f"the installed pyrage is {metadata.version('pyrage')}")
    files = metadata.files("pyrage") or []
    [file] = [file for file in files if file.name == "pyrage.cyclonedx.json"]
    crates = {(part["name"], part["version"]) for part in json.loads(file.read_text())["components"]}
    named = set(re.findall(r"`([\w-]+)` (\d+\.\d+\.\d+)", SECURITY))
    assert {name for name, _ in named} == {"curve25519-dalek", "rsa", "rand"}
    assert named <= crates


def test_the_full_run_installs_each_program_that_a_test_needs() -> None:
    apt = re.search(r"apt-get install -y[^\n]*\\\n(.*?) >/dev/null", RUN, re.DOTALL)
    assert apt is not None
    packages = set(apt[1].replace("\\", " ").split())
    files = (ROOT / "tests").rglob("*.py")
    needed = {
        name for file in files for name in re.findall(r"needs\(\"([\w-]+)\"\)", file.read_text("utf-8"))
    }
    essential = {"dash"}
    assert {"tmux", "unshare", "useradd"} <= needed
    assert {PACKAGES.get(name, name) for name in needed} - essential - packages == set()


def test_each_mode_of_the_run_is_explained() -> None:
    """In its own help, and in the guide for contributors; `help` needs no explanation there."""
    modes = set(re.findall(r"(?m)^    (\w+)(?: \|[^)]*)?\) \w+(?: \"\$@\")? ;;$", RUN))
    told = subprocess.run([ROOT / ".ci" / "run", "help"], capture_output=True, text=True, check=True).stdout
    assert modes == set(re.findall(r"(?m)^  (\w+) +\S", told.split("Parts of matrix:")[0])) | {"matrix"}
    assert modes - {"help", "all"} == set(re.findall(r"(?m)^\| `\.ci/run (\w+)`", CONTRIBUTING))


def test_the_readme_installs_from_the_lock_with_hashes() -> None:
    assert "--require-hashes -r core/requirements.lock" in README
    assert "--no-deps ." in README
