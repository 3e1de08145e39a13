"""Prints the paths of wheels in a folder whose packages are not installed. Needs the standard library only."""

import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

for wheel in sorted(Path(sys.argv[1]).glob("*.whl")):
    try:
        distribution(wheel.name.partition("-")[0])
    except PackageNotFoundError:
        print(wheel)
