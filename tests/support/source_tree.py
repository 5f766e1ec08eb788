"""The project's own source as the architecture tests see it: files, imports, what imports lead to."""

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGES: Final = ("ledger", "approvals", "proxy", "overseer", "glassgate", "migrations")
_NOT_OURS: Final = {".git", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", "__pycache__"}


def python_files(*packages: str) -> list[Path]:
    """Every .py file of the packages, sorted."""
    return sorted(path for package in packages for path in (ROOT / package).rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> dict[str, Path]:
    """Module name -> file, for the product's packages."""
    return {module_name(path): path for path in python_files(*PACKAGES)}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@cache
def imports(module: str) -> frozenset[str]:
    """Full names of the modules that `module` imports, wherever in it; of ours the exact module, of others as
    written. Imports for the type checker alone are left out."""
    found: set[str] = set()
    for node in _running(tree(modules()[module])):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                raise AssertionError(f"{module} imports relatively; full names read the same everywhere")
            found.add(base)
            found.update(f"{base}.{alias.name}" for alias in node.names if f"{base}.{alias.name}" in modules())
    return frozenset(found)


def reaches(module: str) -> dict[str, tuple[str, ...]]:
    """Everything that importing `module` brings in, ours and others', with the chain of our modules to it."""
    seen: dict[str, tuple[str, ...]] = {module: (module,)}
    queue = [module]
    while queue:
        current = queue.pop()
        parts = current.split(".")
        parents = [".".join(parts[:i]) for i in range(1, len(parts))]
        for name in (*imports(current), *parents):
            if name not in seen:
                seen[name] = (*seen[current], name)
                if name in modules():
                    queue.append(name)
    del seen[module]
    return seen


def committed_files() -> list[Path]:
    """What git holds or would take: tracked and untracked, ignored ones left out. Without git, every file."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, capture_output=True, check=True,
        ).stdout  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return sorted(p for p in ROOT.rglob("*") if p.is_file() and not _NOT_OURS & set(p.relative_to(ROOT).parts))
    return sorted(path for name in listed.decode().split("\0") if name and (path := ROOT / name).is_file())


def _running(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield from _running(other)
            continue
        yield child
        yield from _running(child)
