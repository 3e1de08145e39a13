"""An action after the import of another module."""

import sys
from importlib import import_module, reload
from pathlib import Path

import pytest

from fflm_data.after_import import after_import


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a package that is not imported yet."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    name = f"watched_{tmp_path.name}"
    path = tmp_path / name / "__init__.py"
    path.parent.mkdir()
    path.write_text("done = True\n", encoding="utf-8")
    (path.parent / "part.py").touch()
    return path


@pytest.mark.parametrize("imported", ["", ".part"])
def test_action_follows_import(module: Path, imported: str) -> None:
    name, seen = module.parent.name, []
    finders = [*sys.meta_path]
    after_import(name, lambda: seen.append(sys.modules[name].done))
    assert seen == [] and name not in sys.modules
    import_module("json")
    assert seen == []
    import_module(name + imported)
    assert seen == [True] and sys.meta_path == finders
    reload(sys.modules[name])
    assert seen == [True]


def test_imported_module(module: Path) -> None:
    import_module(module.parent.name)
    finders, seen = [*sys.meta_path], []
    after_import(module.parent.name, lambda: seen.append("now"))
    assert seen == ["now"] and sys.meta_path == finders


def test_second_import_after_a_failed_one(module: Path) -> None:
    seen: list[str] = []
    after_import(module.parent.name, lambda: seen.append("done"))
    module.write_text("raise OSError('no disk')\n", encoding="utf-8")
    with pytest.raises(OSError, match="no disk"):
        import_module(module.parent.name)
    assert seen == []
    module.write_text("done = True  # longer than the file before\n", encoding="utf-8")
    import_module(module.parent.name)
    assert seen == ["done"]


def test_missing_module(module: Path) -> None:
    after_import("there_is_no_such_module", lambda: None)
    with pytest.raises(ModuleNotFoundError, match="there_is_no_such_module"):
        import_module("there_is_no_such_module")


def test_several_actions(module: Path) -> None:
    seen: list[int] = []
    for number in range(3):
        after_import(module.parent.name, lambda number=number: seen.append(number))
    import_module(module.parent.name)
    assert sorted(seen) == [0, 1, 2]
