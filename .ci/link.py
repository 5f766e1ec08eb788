"""Make the running virtual environment lead to this checkout: what an editable install would do, without a build
backend and without a network.

Leaves a `.pth` line (relative, so that a checkout can be moved with its environment), the name and version of the
distribution for importlib.metadata, and the `glassgate` command.
"""

import sys
import sysconfig
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

SCRIPT = """\
#!/bin/sh
# Made by .ci/link.py. -P: a module in the working directory must not be able to stand in for one of ours.
here=$(dirname -- "$(readlink -f -- "$0")")
run='import sys; sys.argv[0] = "{name}"; from {module} import {function}; sys.exit({function}())'
exec "$here/python" -P -c "$run" "$@"
"""


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    site = Path(sysconfig.get_path("purelib")).resolve()
    if ROOT not in site.parents:
        sys.exit(f"{site} is not an environment inside this checkout")
    up = "/".join([".."] * len(site.relative_to(ROOT).parts))
    (site / "glassgate.pth").write_text(up + "\n")
    for old in site.glob("glassgate-*.dist-info"):
        for file in old.iterdir():
            file.unlink()
        old.rmdir()
    info = site / f"glassgate-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: glassgate\nVersion: {project['version']}\n")
    (info / "INSTALLER").write_text("checkout\n")
    for name, entry in project["scripts"].items():
        script = Path(sysconfig.get_path("scripts")) / name
        module, _, function = entry.partition(":")
        script.write_text(SCRIPT.format(name=name, module=module, function=function))
        script.chmod(0o755)


if __name__ == "__main__":
    main()
