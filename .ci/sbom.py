"""Print a CycloneDX SBOM of core/requirements.lock as JSON.

Each component has its package URL, version, the SHA-256 of every file that the lock file admits, and the
licence, if the environment that runs this has the same version installed. The time of the run and a random
serial number are in it too.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "core" / "requirements.lock"

_LICENCE_FIELDS = ("License-Expression", "Classifier", "License")
_PIN = re.compile(r"(?P<name>[a-z0-9-]+)==(?P<version>[^\s;]+)(?: ; (?P<marker>.+?))? \\")
_HASH = re.compile(r"    --hash=sha256:(?P<digest>[0-9a-f]{64})(?: \\)?")
_VIA = re.compile(r"    #(?: via)? +(?P<name>[a-z0-9-]+)(?P<declared> \(pyproject\.toml\))?")


@dataclass(frozen=True, slots=True)
class Pin:
    """One locked package."""

    name: str
    version: str
    marker: str
    """Environments that need it; empty for all."""
    sha256: tuple[str, ...]
    """Digests of its files, in hexadecimal."""
    needed_by: tuple[str, ...]
    """Names of the packages that depend on it; the program's own is among them."""


def parse_lock(text: str) -> Iterator[Pin]:
    """Yield the packages of a lock file in the form that `uv pip compile --generate-hashes` writes.

    :raises ValueError: if a line has another form.
    """
    pin: re.Match[str] | None = None
    digests: list[str] = []
    needed_by: list[str] = []
    for line in [*text.splitlines(), ""]:
        if found := _HASH.fullmatch(line):
            digests.append(found["digest"])
        elif found := _VIA.fullmatch(line):
            needed_by.append(found["name"])
        elif line.startswith("#") or line == "    # via":
            continue
        else:
            if pin:
                names = tuple(needed_by)
                yield Pin(pin["name"], pin["version"], pin["marker"] or "", tuple(digests), names)
            pin, digests, needed_by = _PIN.fullmatch(line), [], []
            if line and not pin:
                raise ValueError(f"not a line of a lock file: {line}")


def find_licences(name: str, version: str) -> list[str]:
    """Return the licences that an installed package declares, as SPDX expression or in its own words; empty
    if that version is not installed here."""
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return []
    if found.version != version:
        return []
    declared = {name: found.metadata.get_all(name) or [] for name in _LICENCE_FIELDS}
    classes = [text.split(" :: ")[-1] for text in declared["Classifier"] if text.startswith("License :: ")]
    in_words = [text for text in declared["License"] if "\n" not in text]
    return declared["License-Expression"] or [text for text in classes if text != "OSI Approved"] or in_words


def make_bom(pins: list[Pin]) -> Bom:
    """Return the SBOM of the program with these packages."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    program = Component(
        type=ComponentType.APPLICATION,
        name=project["name"],
        version=project["version"],
        description=project["description"],
        bom_ref=project["name"],
        licenses=[LicenseFactory().make_from_string(project["license"])],
    )
    components = {pin.name: _make_component(pin) for pin in pins}
    everything = {canonicalize_name(project["name"]): program, **components}
    bom = Bom(components=components.values())
    bom.metadata.component = program
    for name, component in everything.items():
        needs = [components[pin.name] for pin in pins if name in pin.needed_by]
        bom.register_dependency(component, needs)
    return bom


def _make_component(pin: Pin) -> Component:
    purl = PackageURL("pypi", name=pin.name, version=pin.version)
    files = ExternalReference(
        type=ExternalReferenceType.DISTRIBUTION,
        url=XsUri(purl.to_string()),
        comment=f"one of its files; needed if {pin.marker}" if pin.marker else "one of its files",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in pin.sha256],
    )
    licences = [LicenseFactory().make_from_string(text) for text in find_licences(pin.name, pin.version)]
    return Component(
        type=ComponentType.LIBRARY,
        name=pin.name,
        version=pin.version,
        bom_ref=purl.to_string(),
        purl=purl,
        licenses=licences,
        external_references=[files],
    )


def main() -> None:
    """Print the SBOM, once it conforms to the schema."""
    text = JsonV1Dot6(make_bom(list(parse_lock(LOCK.read_text("utf-8"))))).output_as_string(indent=2)
    if wrong := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        sys.exit(f"not a valid SBOM: {wrong}")
    print(text)


if __name__ == "__main__":
    main()
