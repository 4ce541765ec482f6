"""Commands: `python -m website pages`, `python -m website build`."""

import os
import subprocess
import sys
from pathlib import Path

from website.fragments import fill
from website.links import broken_links, outside_hosts
from website.pages import ROOT, write


def pages() -> None:
    """Writes the generated pages, and the generated parts of the others."""
    write()
    fill(ROOT)


def build(root: Path = ROOT) -> None:
    """Builds the site; any warning, broken link or anchor ends the program with a message.

    Args:
        root: The folder with `mkdocs.yml`.
    """
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    environment = os.environ | {"NO_COLOR": "1"}
    if subprocess.run(command, cwd=root, env=environment, check=False).returncode:
        sys.exit("the site was not built")
    site = root / "build" / "site"
    faults = broken_links(site) + [f"loads from {host}" for host in sorted(outside_hosts(site))]
    if faults:
        sys.exit("\n".join(faults))


def main(arguments: list[str]) -> None:
    """Runs one command.

    Args:
        arguments: Its name.
    """
    commands = {"pages": pages, "build": build}
    if len(arguments) != 1 or arguments[0] not in commands:
        sys.exit(f"usage: python -m website {'|'.join(commands)}")
    commands[arguments[0]]()


if __name__ == "__main__":
    main(sys.argv[1:])
