"""Prints the wheels of a folder whose packages this Python does not have, a path a line. Needs nothing installed."""

import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

for wheel in sorted(Path(sys.argv[1]).glob("*.whl")):
    try:
        distribution(wheel.name.partition("-")[0])
    except PackageNotFoundError:
        print(wheel)
