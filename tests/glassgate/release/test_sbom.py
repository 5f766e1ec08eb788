"""The bill of materials: the same lock, the same bytes."""

from glassgate.release.lock import Pin
from glassgate.release.sbom import make_sbom
from ledger.encoding import decode

PINS = (Pin("click", "8.5.1", "", ("4" * 64,)), Pin("cffi", "2.1.1+local", "sys_platform != 'win32'", ("5" * 64,)))


def test_it_names_every_package_by_purl_and_by_the_digests_of_its_files() -> None:
    said = decode(make_sbom("1.2.3", PINS))
    assert (said["bomFormat"], said["specVersion"], said["version"]) == ("CycloneDX", "1.6", 1)
    assert said["metadata"]["component"]["purl"] == "pkg:pypi/glassgate@1.2.3"
    click, cffi = said["components"]
    assert click["purl"] == "pkg:pypi/click@8.5.1"
    assert click["hashes"] == [{"alg": "SHA-256", "content": "4" * 64}]
    assert cffi["purl"] == "pkg:pypi/cffi@2.1.1%2Blocal"
    assert cffi["properties"] == [{"name": "glassgate:marker", "value": "sys_platform != 'win32'"}]


def test_it_says_neither_when_nor_where() -> None:
    made = make_sbom("1.2.3", PINS)
    assert made == make_sbom("1.2.3", PINS)
    for word in (b"timestamp", b"serialNumber", b"://"):
        assert word not in made


def test_a_package_that_stands_there_twice_has_two_references() -> None:
    twice = (Pin("a", "1", "x", ("1" * 64,)), Pin("a", "1", "y", ("2" * 64,)))
    references = [one["bom-ref"] for one in decode(make_sbom("1", twice))["components"]]
    assert len(set(references)) == 2
