"""Where a sandboxed process finds modules."""

import sys
from pathlib import Path

import pytest

from harness.models import sandbox


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a module, on the module search path of this process, as PYTHONPATH and user installations are."""
    text = "import json, sys\ndef main(word): print(json.dumps([word, sys.flags.isolated]))\n"
    (tmp_path / "module_of_a_user.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_packages_are_found_where_this_process_finds_them() -> None:
    assert sandbox.run_json("module_of_a_user", "word", env=sandbox.environment()) == ["word", 1]


def test_modules_in_the_working_directory_are_not_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(ValueError, match="Expecting value"):
        sandbox.run_json("module_of_a_user", "word", env=sandbox.environment())


def test_the_working_directory_is_not_searched_under_another_name(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path_factory.mktemp("links") / "link"
    link.symlink_to(folder)
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.path", [str(link), *(path for path in sys.path if path != str(folder))])
    with pytest.raises(ValueError, match="Expecting value"):
        sandbox.run_json("module_of_a_user", "word", env=sandbox.environment())


@pytest.mark.parametrize("entry", [Path("/somewhere"), b"/somewhere", None, "", "relative", "/not/there"])
def test_unusual_entries_of_the_search_path(entry: object, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [entry, *sys.path])
    assert sandbox.run_json("module_of_a_user", "word", env=sandbox.environment()) == ["word", 1]
