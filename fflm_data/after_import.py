"""Calls a function as soon as another module is imported, without importing it: `datasets` takes most of a second."""

import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


def after_import(name: str, action: Callable[[], None]) -> None:
    """Calls an action after the import of a module; at once if it is imported."""
    if name in sys.modules:
        action()
    else:
        sys.meta_path.insert(0, _Watch(name, action))


class _Watch(MetaPathFinder):
    """Finds one module as the other finders do, and calls the action once its code has run."""

    def __init__(self, name: str, action: Callable[[], None]):
        self._name, self._action = name, action
        self._searching = False  # another watch asks this one back

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._name or self._searching:
            return None
        self._searching = True
        try:
            spec = next(filter(None, (finder.find_spec(fullname, path, target) for finder in sys.meta_path)), None)
        finally:
            self._searching = False
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                sys.meta_path.remove(self)
                self._action()

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
