"""The files of a built site: which ones a build may replace, and which ones are published."""

import json
from pathlib import Path

ASSETS = Path(__file__).parent / "assets"
INDEX_SCHEMA = "fflm-leaderboard/3"
# Sites of earlier versions may be replaced, too.
_INDEX_SCHEMAS = ("fflm-leaderboard/1", "fflm-leaderboard/2", INDEX_SCHEMA)
INDEX_FILE = "index.json"
FOLDERS = ("badges", "models", "recipes", "records", "tasks", "wrong")
FILES = ("compare.html", "feed.xml", "index.html", INDEX_FILE, "scores.csv")


def is_site(folder: Path) -> bool:
    """Returns whether `harness leaderboard build` wrote a folder: it has index.html and an index.json of our schema."""
    try:
        return (folder / "index.html").is_file() and is_index((folder / INDEX_FILE).read_bytes())
    except OSError:
        return False


def is_index(content: bytes) -> bool:
    """Returns whether the content is an index.json of our schema, in any version."""
    try:
        return json.loads(content)["schema"] in _INDEX_SCHEMAS
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def other_files(folder: Path) -> list[str]:
    """Returns files in the folder of a site that are not part of it: other names, hidden files, and links."""
    ours = {*FOLDERS, *FILES, *(path.name for path in ASSETS.iterdir())}
    strange = [path for path in folder.iterdir() if path.name not in ours]
    strange += [path for path in folder.rglob("*") if path.is_symlink() or path.name.startswith(".")]
    return sorted({path.relative_to(folder).as_posix() for path in strange})
