"""Fails, and names the packages, if files of this environment are missing or cut short.

That is what an installation leaves behind that is killed or runs out of disk. Installers look no
further than a package's version, so they would take what is there for the whole.
"""

import csv
import sys
import sysconfig
from pathlib import Path


def is_whole(package: Path) -> bool:
    """Whether every file that the installer recorded is there in full length.

    Bytecode is left out: Python may write it anew.

    Args:
        package: The `.dist-info` folder. Its record lists each file's size, and itself without.
    """
    record = package / "RECORD"
    if not record.is_file():
        return False
    rows = list(csv.reader(record.read_text(encoding="utf-8").splitlines()))
    if any(len(row) != 3 for row in rows) or [f"{package.name}/RECORD", "", ""] not in rows:
        return False
    sizes = {package.parent / path: int(size) for path, _, size in rows if size}
    return all(
        path.is_file() and path.stat().st_size == size
        for path, size in sizes.items()
        if path.suffix != ".pyc"
    )


def main() -> None:
    """Exits with a message if the environment cannot be kept."""
    packages = sorted(Path(sysconfig.get_path("purelib")).glob("*.dist-info"))
    if not any(package.name.startswith("pip-") for package in packages):
        sys.exit("it has no pip")
    broken = [package.stem for package in packages if not is_whole(package)]
    if broken:
        sys.exit(f"files are missing of {', '.join(broken)}")


if __name__ == "__main__":
    main()
