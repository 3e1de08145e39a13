"""All YAML files of the repository can be parsed, because GitHub silently ignores an invalid issue template."""

from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
FOLDERS = (
    ROOT,
    ROOT / ".github" / "ISSUE_TEMPLATE",
    ROOT / ".github" / "workflows",
    ROOT / "leaderboard" / "workflows",
)
FILES = [path for folder in FOLDERS for path in sorted(folder.iterdir()) if path.suffix in (".yml", ".yaml", ".cff")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_file_is_valid(path: Path) -> None:
    assert yaml.safe_load(path.read_text(encoding="utf-8"))


def test_issue_templates_have_the_required_fields() -> None:
    templates = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
    assert len(templates) == 3
    for path in templates:
        form = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert {"name", "description", "body"} <= set(form)
        assert all(field["attributes"]["label"] for field in form["body"])
