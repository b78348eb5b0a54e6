"""The one registry class: devices, protocols, networks, datasets, policies and algorithms are all found through it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from powergrid.core.errors import unknown_name

T = TypeVar("T")


class Registry(Generic[T]):
    """Names for one kind of thing.

    Built-ins register themselves when their module is imported. A name that equals a file name imports that file only;
    any other name imports the folder, then the entry points, and asks again.

    Parameters
    ----------
    kind
        Singular noun for messages, such as ``"device"``.
    package
        Dotted package whose modules register themselves.
    group
        Entry-point group through which other distributions add names.
    """

    def __init__(self, kind: str, package: str, group: str):
        self.kind = kind
        self.package = package
        self.group = group
        self.broken: dict[str, str] = {}
        self._items: dict[str, T] = {}
        self._aliases: dict[str, str] = {}
        self._complete = False

    def register(self, name: str, *, aliases: Sequence[str] = ()) -> Callable[[T], T]:
        """Decorator that stores an object under `name` and `aliases`.

        Raises
        ------
        ValueError
            If another object already holds one of the names.
        """

        def decorate(item: T) -> T:
            for key in (name, *aliases):
                held = self._items.get(self._aliases.get(key, key))
                if held is not None and not _same_definition(held, item):
                    raise ValueError(f'{self.kind} "{key}" is already registered by {_origin(held)}')
            self._items[name] = item
            self._aliases.update(dict.fromkeys(aliases, name))
            return item

        return decorate

    def get(self, name: str) -> T:
        """Return the object registered under `name`.

        Raises
        ------
        UnknownNameError
            If there is none; the message holds the nearest match and every name.
        """
        if not self._knows(name) and name in self._modules():
            importlib.import_module(f"{self.package}.{name}")
        if not self._knows(name):
            self._load_all()
        if not self._knows(name):
            raise unknown_name(self.kind, name, [*self._items, *self._aliases])
        return self._items[self._aliases.get(name, name)]

    def names(self) -> tuple[str, ...]:
        """All registered names, sorted, without aliases."""
        self._load_all()
        return tuple(sorted(self._items))

    def aliases(self, name: str) -> tuple[str, ...]:
        """Other names of `name`."""
        return tuple(sorted(alias for alias, target in self._aliases.items() if target == name))

    def __contains__(self, name: str) -> bool:
        if not self._knows(name):
            self._load_all()
        return self._knows(name)

    def _knows(self, name: str) -> bool:
        return self._aliases.get(name, name) in self._items

    def _modules(self) -> tuple[str, ...]:
        package = importlib.import_module(self.package)
        found = pkgutil.iter_modules(package.__path__)
        return tuple(module.name for module in found if not module.name.startswith("_"))

    def _load_all(self) -> None:
        if self._complete:
            return
        self._complete = True
        for module in self._modules():
            importlib.import_module(f"{self.package}.{module}")
        for point in entry_points(group=self.group):
            try:
                item = point.load()
            except Exception as error:  # a stranger's broken plugin must not take the others down
                self.broken[point.name] = f"{type(error).__name__}: {error}"
            else:
                if point.name not in self._items:
                    self._items[point.name] = item


def _same_definition(first: Any, second: Any) -> bool:
    """True if both come from the same place, as when a plugin file is read twice."""
    return first is second or _origin(first) == _origin(second)


def _origin(item: Any) -> str:
    return f"{getattr(item, '__module__', '?')}.{getattr(item, '__qualname__', repr(item))}"
