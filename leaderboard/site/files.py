"""Which files a built site has: what a build may replace, and what is published of a folder."""

import json
from pathlib import Path

ASSETS = Path(__file__).parent / "assets"
INDEX_SCHEMA = "fflm-leaderboard/1"
INDEX_FILE = "index.json"
FOLDERS = ("badges", "models", "records", "tasks", "wrong")
FILES = ("compare.html", "feed.xml", "index.html", INDEX_FILE, "scores.csv")


def is_site(folder: Path) -> bool:
    """Whether `harness leaderboard build` wrote it: it has a page, and an index.json of our schema."""
    try:
        return (folder / "index.html").is_file() and is_index((folder / INDEX_FILE).read_bytes())
    except OSError:
        return False


def is_index(content: bytes) -> bool:
    """Whether that is an index.json of our schema."""
    try:
        return bool(json.loads(content)["schema"] == INDEX_SCHEMA)
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def other_files(folder: Path) -> list[str]:
    """What lies in the folder of a site and is not of it: other names, and links, which may lead anywhere."""
    ours = {*FOLDERS, *FILES, *(path.name for path in ASSETS.iterdir())}
    strange = [path for path in folder.iterdir() if path.name not in ours]
    strange += [path for path in folder.rglob("*") if path.is_symlink() or path.name.startswith(".")]
    return sorted({path.relative_to(folder).as_posix() for path in strange})
