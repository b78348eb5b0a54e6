"""The one registry class: devices, protocols, networks, datasets, policies and algorithms are all found through it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from powergrid.core.errors import UnknownNameError, unknown_name

T = TypeVar("T")
Item = TypeVar("Item")

FOLDER = "_powergrid_plugins_"
"""Beginning of the names of packages that stand for plugin folders."""


class Registry(Generic[T]):
    """Names for one kind of thing.

    Built-ins register themselves when their module is imported. A name that equals a file name imports that file only;
    any other name imports the folder, then the entry points, and is looked up again.

    Parameters
    ----------
    kind
        Singular noun for messages, such as ``"device"``.
    package
        Dotted package whose modules register themselves.
    group
        Entry-point group through which other distributions add names.

    Attributes
    ----------
    broken
        Entry points that cannot be used, by name, and why; the others work all the same.
    """

    def __init__(self, kind: str, package: str, group: str):
        self.kind = kind
        self.package = package
        self.group = group
        self.broken: dict[str, str] = {}
        self._items: dict[str, T] = {}
        self._aliases: dict[str, str] = {}
        self._by_folder: dict[str, dict[str, tuple[T, tuple[str, ...]]]] = {}
        self._complete = False

    def register(self, name: str, *, aliases: Sequence[str] = ()) -> Callable[[Item], Item]:
        """Decorator that stores an object under `name` and `aliases`.

        Two plugin folders may use the same name: the folder that was loaded last has it.

        Raises
        ------
        ValueError
            If another object already holds one of the names.
        """

        def decorate(item: Item) -> Item:
            own: Any = item
            for key in (name, *aliases):
                held = self._items.get(self._aliases.get(key, key))
                if held is not None and not _may_replace(held, item):
                    raise ValueError(f'{self.kind} "{key}" is already registered by {_origin(held)}')
            self._store(name, own, tuple(aliases))
            if _folder(item):
                self._by_folder.setdefault(_folder(item), {})[name] = (own, tuple(aliases))
            return item

        return decorate

    def renew(self, package: str) -> tuple[str, ...]:
        """Give a plugin folder, by its package, the names that it has registered; returns them."""
        found = self._by_folder.get(package, {})
        for name, (item, aliases) in found.items():
            self._store(name, item, aliases)
        return tuple(found)

    def _store(self, name: str, item: T, aliases: tuple[str, ...]) -> None:
        self._aliases.pop(name, None)
        self._items[name] = item
        self._aliases.update(dict.fromkeys(aliases, name))

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
        if name in self.broken and not self._knows(name):
            raise UnknownNameError(f'the plugin for {self.kind} "{name}" cannot be used: {self.broken[name]}')
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
        self._complete = True  # for modules that look something up while they are imported
        try:
            for module in self._modules():
                importlib.import_module(f"{self.package}.{module}")
        except ImportError:
            self._complete = False  # the next caller meets the missing library too, and no empty registry
            raise
        for point in entry_points(group=self.group):
            where = f"{point.value} of {point.dist.name}" if point.dist is not None else point.value
            try:
                item = point.load()
            except (Exception, SystemExit) as error:  # one broken plugin must not disable the others
                self.broken[point.name] = f"{type(error).__name__}: {error} ({where})"
                continue
            held = self._items.get(self._aliases.get(point.name, point.name))
            if held is None:
                self._items[point.name] = item
            elif held is not item:
                self.broken[point.name] = f"the name is taken by {_origin(held)} ({where})"


def _may_replace(held: object, item: object) -> bool:
    """True if both come from the same place, as when a plugin file is read twice, or from two plugin folders."""
    if held is item or _origin(held) == _origin(item):
        return True
    return bool(_folder(held) and _folder(item)) and _folder(held) != _folder(item)


def _folder(item: object) -> str:
    """Package of the plugin folder that an object comes from, or an empty string."""
    package: str = getattr(item, "__module__", "").partition(".")[0]
    return package if package.startswith(FOLDER) else ""


def _origin(item: object) -> str:
    return f"{getattr(item, '__module__', '?')}.{getattr(item, '__qualname__', repr(item))}"
