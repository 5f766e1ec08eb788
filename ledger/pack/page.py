"""index.html of a pack: what is in it, for people. Made from the pack's own data and from nothing else, so that a
verifier makes it again and compares: a page that says something else is refused.

No script, no form, no picture, nothing from elsewhere; everything that somebody wrote is escaped, and what a browser
would not show (controls, bidirectional overrides) is spelled out.
"""

import base64
import hashlib
import html
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from ledger.pack.contents import Held, Scope
from ledger.stub import StubRefused, parse_stub

__all__ = ["page"]

MAX_SHOWN: Final = 1000
MAX_FACTS_CHARS: Final = 2000

_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.3rem .6rem;"
    "border-bottom:1px solid #ccc}code{font-size:.85em;overflow-wrap:anywhere}"
)
_DIGEST: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY: Final = f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'"
_ABOUT: Final = {
    "grant": "everything that belongs to the grant",
    "request": "everything that belongs to the request",
    "period": "every entry of the period",
    "store": "what belongs to the store",
}
_CONTENT: Final = {
    "none": "",
    "clear": "in this pack",
    "sealed": "in this pack, sealed",
    "erased": "erased from the log",
    "withheld": "left out of this pack",
}


def page(origin: str, member: str, scope: Scope, checkpoint: bytes, entries: Sequence[Held]) -> bytes:
    """The page of the pack with these parts."""
    about = f"{_ABOUT[scope.kind]} <code>{shown(scope.name)}</code>"
    rows = "".join(_row(held) for held in entries[:MAX_SHOWN])
    more = len(entries) - MAX_SHOWN
    rest = f"<p>And {more} more; their files are in the pack.</p>" if more > 0 else ""
    body = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="referrer" content="no-referrer"><meta name="viewport" content="width=device-width">
<title>Evidence pack: {shown(scope.kind)} {shown(scope.name)}</title><style>{_STYLE}</style></head><body>
<h1>Evidence pack</h1>
<p>Of the log <code>{shown(origin)}</code> of <b>{shown(member)}</b>: {about}, among the entries {scope.first} to
{scope.end - 1}.</p>
<h2>What this page is worth</h2>
<p>Nothing by itself. The evidence is in the files beside it: each entry's leaf, its facts and content, and a proof that
the leaf is in the tree whose signed root is in <code>checkpoint</code>. Check them with a verifier, and against keys,
that you did not get from whoever gave you this pack; the format and the steps are in the documentation of glassgate,
under "Evidence packs". Whether something was left out is answered there too: a verifier says so.</p>
<h2>Checkpoint</h2>
<pre><code>{_lines(checkpoint)}</code></pre>
<h2>Releases</h2>
<ul>{_releases(entries)}</ul>
<h2>Entries</h2>
<table><thead><tr><th>Index</th><th>Time</th><th>Kind</th><th>Facts</th><th>Content</th></tr></thead><tbody>
{rows}</tbody></table>{rest}
</body></html>
"""
    return body.encode()


def _row(held: Held) -> str:
    try:
        stub = parse_stub(held.leaf)
    except StubRefused:
        return f"<tr><td>{held.index}</td><td colspan=4>not a stub</td></tr>\n"
    facts = held.facts.data.decode("utf-8", "replace")
    cut = shown(facts[:MAX_FACTS_CHARS]) + (" … (whole in its file)" if len(facts) > MAX_FACTS_CHARS else "")
    return (
        f"<tr><td>{held.index}</td><td>{shown(stub.time)}</td><td>{shown(stub.kind)}</td>"
        f"<td><code>{cut}</code></td><td>{_CONTENT[held.content_form]}</td></tr>\n"
    )


def _releases(entries: Sequence[Held]) -> str:
    lines = [
        f"<li>{shown(name)}: release {shown(digest) if digest else 'none, a development checkout'}</li>"
        for digest, name in sorted(releases(entries).items())
    ]
    return "".join(lines) or "<li>none named</li>"


class _Started(msgspec.Struct, frozen=True):
    version: Any = ""
    release: Any = ""


def releases(entries: Sequence[Held]) -> Mapping[str, str]:
    """The releases that the pack's writers say they run, by digest ("" for none), with their versions."""
    found: dict[str, set[str]] = {}
    for held in entries:
        try:
            stub = parse_stub(held.leaf)
            if stub.kind == "process.started":
                facts = msgspec.json.decode(held.facts.data, type=_Started)
                found.setdefault(stub.release, set()).add(str(facts.version))
        except (StubRefused, msgspec.DecodeError, UnicodeDecodeError):
            continue
    return {digest: ", ".join(sorted(versions)) for digest, versions in found.items()}


def _lines(note: bytes) -> str:
    return "\n".join(shown(line) for line in note.decode("utf-8", "replace").split("\n"))


def shown(text: str) -> str:
    """Escaped, and with every character visible: what prints as nothing stands as its number."""
    visible = "".join(one if one.isprintable() else f"\\u{{{ord(one):x}}}" for one in text)
    return html.escape(visible)
