"""The bill of materials: what a release is made to run with, made from the lock alone.

CycloneDX 1.6 in JSON (ECMA-424), as canonical bytes: the same lock gives the same file on every machine. The parts
that would break this, serial number and time, are optional in the specification and left out, as are addresses:
a package is named by purl and by the digests of its files, wherever they come from.
"""

from collections.abc import Iterable
from typing import Any, Final

from glassgate.release.lock import Pin
from ledger.encoding import encode

__all__ = ["FORM", "make_sbom"]

FORM: Final = "1.6"


def make_sbom(version: str, pins: Iterable[Pin]) -> bytes:
    """The bill of materials of glassgate `version`, with every package of the lock, the trial's included."""
    return encode(
        {
            "bomFormat": "CycloneDX",
            "specVersion": FORM,
            "version": 1,
            "metadata": {
                "component": {
                    "type": "application",
                    "bom-ref": _purl("glassgate", version),
                    "name": "glassgate",
                    "version": version,
                    "purl": _purl("glassgate", version),
                    "licenses": [{"license": {"id": "Apache-2.0"}}],
                }
            },
            "components": [_component(pin) for pin in pins],
        }
    )


def _component(pin: Pin) -> dict[str, Any]:
    # The same package may stand in a lock twice, for different platforms; a bom-ref must be one of a kind.
    reference = _purl(pin.name, pin.version) + (f"#{pin.marker}" if pin.marker else "")
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": reference,
        "name": pin.name,
        "version": pin.version,
        "purl": _purl(pin.name, pin.version),
        "hashes": [{"alg": "SHA-256", "content": digest} for digest in pin.hashes],
    }
    if pin.marker:
        component["properties"] = [{"name": "glassgate:marker", "value": pin.marker}]
    return component


def _purl(name: str, version: str) -> str:
    """https://github.com/package-url/purl-spec: `+` of a local version is the one character that needs escaping."""
    return f"pkg:pypi/{name}@{version.replace('+', '%2B').replace('!', '%21')}"
