"""Work that waits for another library's import, so that ``import powergrid`` need not load it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType


class _Watch(MetaPathFinder):
    """Does work once the module `name` has been imported."""

    def __init__(self, name: str):
        self.name = name
        self.works: list[Callable[[], None]] = []

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Spec of the module, whose loader also does the work; ``None`` for every other module."""
        if fullname != self.name:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_and_work(module: ModuleType) -> None:
            load(module)
            for work in self.works:
                work()

        spec.loader.exec_module = load_and_work  # type: ignore[method-assign]
        return spec


def when_imported(name: str, work: Callable[[], None]) -> None:
    """Do some work now if a module is imported, else when it is imported.

    Parameters
    ----------
    name
        Full name of the module.
    work
        What to do. The same function waits once, however often it is given.
    """
    if name in sys.modules:
        work()
        return
    watches = [finder for finder in sys.meta_path if isinstance(finder, _Watch) and finder.name == name]
    if not watches:
        watches = [_Watch(name)]
        sys.meta_path.insert(0, watches[0])
    if work not in watches[0].works:
        watches[0].works.append(work)
