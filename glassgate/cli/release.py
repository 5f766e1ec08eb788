"""release: build one twice, check one by building it again, and what this copy says of itself."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from glassgate.cli.output import remark, visible
from glassgate.cli.session import No, Session, command

if TYPE_CHECKING:
    from glassgate.release.identity import Copy

BUILDER = click.option(
    "--builder",
    type=click.Path(path_type=Path),
    envvar="GLASSGATE_BUILDER",
    help="A Python with the locked build tools. Default: this one, or what `make release` set up.",
)
CHECKOUT = click.option(
    "--checkout", type=click.Path(path_type=Path), default=".", show_default=True, help="Whose commits are built."
)
DIST = Path("dist")


@click.group()
def release() -> None:
    """Build a release, build one again to check it, or see which one this is."""


@command(release)
@click.option("--out", type=click.Path(path_type=Path), help="Where it goes. Default: dist/ in the checkout.")
@CHECKOUT
@BUILDER
def build(session: Session, out: Path | None, checkout: Path, builder: Path | None) -> None:
    """Build wheel and sdist of the checkout's commit twice, compare them, and write dist/ with its manifest.

    The two builds share nothing but the tools. The working tree must be what the commit holds. Needs no network.
    """
    from glassgate.release.assemble import BUILD_LOCK, assemble, put
    from glassgate.release.build import build_twice
    from glassgate.release.builder import find_builder
    from glassgate.release.checkout import Checkout
    from glassgate.release.errors import ReleaseRefused
    from glassgate.release.lock import parse_lock
    from glassgate.release.manifest import release_digest_of

    try:
        source = Checkout(checkout)
        source.refuse_dirty()
        tree = source.tree(source.head())
        found = find_builder(parse_lock(tree.read(BUILD_LOCK), BUILD_LOCK), builder)
        remark(f"building commit {tree.commit[:12]} twice")
        made = assemble(tree, build_twice(tree, found), found.tools)
    except ReleaseRefused as cause:
        raise No(f"no release: {visible(cause, lines=True)}.") from cause
    out = out or source.directory / DIST
    try:
        put(made, out)
    except OSError as cause:
        raise No(f"{visible(out)} cannot be written: {cause.strerror}.") from cause
    told = {
        "release_digest": release_digest_of(made.data),
        "source_digest": made.manifest.source_digest,
        "version": made.manifest.version,
        "commit": made.manifest.commit,
        "directory": str(out),
        "files": {one.name: one.sha256 for one in (*made.manifest.artifacts, made.manifest.sbom)},
    }
    session.answer(told, _built(session, told, len(made.manifest.trusted_not_rebuilt)))


@command(release, name="verify")
@click.argument("directory", type=click.Path(path_type=Path), required=False)
@click.option("--manifest", type=click.Path(path_type=Path), help="Default: release.json in DIRECTORY.")
@click.option("--installed", is_flag=True, help="Compare this installed copy with its RECORD instead of building.")
@click.option("--site", type=click.Path(path_type=Path), help="Like --installed, for the copy in that site-packages.")
@CHECKOUT
@BUILDER
def verify_release(
    session: Session,
    directory: Path | None,
    manifest: Path | None,
    installed: bool,
    site: Path | None,
    checkout: Path,
    builder: Path | None,
) -> None:
    """Check a release by building it again, or an installed copy against the wheel. Exit status 1 names what differs.

    DIRECTORY (default: dist) holds the wheel, the sdist and the bill of materials. The commit that the manifest
    names is built here, without a network, and its bytes are compared. Building runs what that commit says in its
    pyproject.toml, so look at it first if you do not trust where it comes from.

    With --installed every installed file is compared with the RECORD of the wheel in DIRECTORY, or, when none is
    named, with the RECORD that the installer left, which whoever changed a file can have changed too.
    """
    named = manifest or (directory / "release.json" if directory else None)
    if installed or site:
        _verify_installed(session, site, named, directory)
        return
    from glassgate.release.checkout import Checkout
    from glassgate.release.errors import ReleaseRefused
    from glassgate.release.verify import verify

    named = named or DIST / "release.json"
    try:
        found = verify(named, directory or named.parent, Checkout(checkout), builder, remark)
    except ReleaseRefused as cause:
        text = visible(cause, lines=True)
        session.answer({"verified": False, "fault": str(cause)}, f"NOT VERIFIED: {text}.")
        raise SystemExit(1) from cause
    for line in found.remarks:
        remark(visible(line))
    told = {
        "verified": True,
        "release_digest": found.release_digest,
        "version": found.manifest.version,
        "commit": found.manifest.commit,
        "trusted_not_rebuilt": [f"{one.name} {one.version}" for one in found.manifest.trusted_not_rebuilt],
    }
    names = ", ".join(one.name for one in found.manifest.trusted_not_rebuilt)
    session.answer(
        told,
        f"verified: glassgate {found.manifest.version} is what commit {found.manifest.commit} gives, byte for byte.\n"
        f"release digest {found.release_digest}\n"
        f"taken as they are, not rebuilt: {names or 'nothing'}",
    )


@command(release)
def show(session: Session) -> None:
    """Show what this copy of the program says of itself: a self-report, no proof."""
    from glassgate.release.identity import running

    copy = running()
    told = _told(copy)
    session.answer(told, session.fields({**told, "installed": "yes" if copy.installed else "no", "changed": ""}))
    for one in copy.changed:
        remark(visible(one))


def _verify_installed(session: Session, site: Path | None, manifest: Path | None, directory: Path | None) -> None:
    from glassgate.release.errors import ReleaseRefused
    from glassgate.release.identity import SITE
    from glassgate.release.installed import bytecode
    from glassgate.release.verify import verify_installed

    place = site or SITE
    try:
        found = verify_installed(place, manifest, directory or (manifest.parent if manifest else None))
    except ReleaseRefused as cause:
        session.answer({"verified": False, "fault": str(cause)}, f"NOT VERIFIED: {visible(cause, lines=True)}.")
        raise SystemExit(1) from cause
    if manifest is None:
        remark("Compared with the RECORD that the installer left; name a release's directory for a judge from outside.")
    compiled = bytecode(place)
    if compiled:
        remark(f"{compiled} files of compiled code (__pycache__) were not looked at; Python runs them. Delete them.")
    against = f"the wheel of glassgate {found.version}" if manifest else "its own RECORD"
    session.answer(
        {"verified": True, "version": found.version, "source_digest": found.digest, "files": found.files},
        f"verified: {found.files} files in {visible(place)} are those of {against}.\nsource digest {found.digest}",
    )


def _told(copy: "Copy") -> dict[str, Any]:
    return {
        "says": copy.words,
        "version": copy.version,
        "source_digest": copy.digest,
        "files": copy.files,
        "directory": str(copy.site),
        "installed": copy.installed,
        "changed": [str(one) for one in copy.changed],
    }


def _built(session: Session, told: dict[str, Any], native: int) -> str:
    shown = {name: told[name] for name in ("version", "commit", "release_digest", "source_digest", "directory")}
    files = [f"{digest}  {name}" for name, digest in told["files"].items()]
    return "\n".join(
        [
            "two builds, the same bytes.",
            session.fields({name.replace("_", " "): value for name, value in shown.items()}),
            *files,
            f"{native} packages with machine code are taken as they are, not rebuilt: see trusted_not_rebuilt.",
        ]
    )
