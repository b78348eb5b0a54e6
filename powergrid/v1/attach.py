"""Elements of devices in a pandapower net: find, create and write them."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import numpy as np

from powergrid.core.errors import PowerGridError, nearest
from powergrid.v1.devices import DG, ESS, RES, Device, Grid, Shunt, Switch, Transformer


class SubclassError(PowerGridError, TypeError):
    """A v1 environment that violates the rules of ``GridBaseEnv``."""


def two_dicts(env: Any) -> tuple[dict[str, float], dict[str, float]]:
    """Result of ``_reward_and_safety()`` of an environment.

    Raises
    ------
    SubclassError
        If that is not two dictionaries.
    """
    found: Any = env._reward_and_safety()
    if isinstance(found, tuple) and len(found) == 2 and all(isinstance(part, dict) for part in found):
        return found
    kind = f"({', '.join(type(part).__name__ for part in found)})" if isinstance(found, tuple) else type(found).__name__
    raise SubclassError(
        f"{type(env).__name__}._reward_and_safety() must return two dicts, rewards and violations by name, as "
        f'({{"DG1": -12.5}}, {{"DG1": 0.0}}); it returned {kind}'
    )


def total_of(env: Any, values: dict[str, float]) -> float:
    """Sum of the values of one of those dictionaries.

    Raises
    ------
    SubclassError
        If one of them is no number.
    """
    try:
        return float(np.sum(list(values.values())))
    except (TypeError, ValueError) as error:
        wrong = {name: value for name, value in values.items() if not isinstance(value, int | float | np.number)}
        raise SubclassError(
            f"{type(env).__name__}._reward_and_safety() must return numbers by name; it returned {wrong}"
        ) from error


NUMBERS = ("episode_length", "base_power", "load_scale", "reward_scale", "safety_scale", "max_penalty")
"""Keys of a configuration that hold a number."""


def checked_config(env: Any, env_config: Any, fixes: Iterable[str] = ()) -> dict[str, Any]:
    """The configuration of an environment, empty for None.

    Parameters
    ----------
    env, env_config
        The environment that asks, and what it was given.
    fixes
        Names that the key ``fix`` may hold.

    Raises
    ------
    SubclassError
        If it is no dictionary, or holds values that cannot be used: all of them are named at once.
    """
    config = {} if env_config is None else env_config
    if not isinstance(config, dict):
        raise SubclassError(
            f"{type(env).__name__}: env_config must be a dict, not a {type(config).__name__}; a comma after its "
            "closing brace makes a tuple of it"
        )
    faults = [*_number_faults(config), *_fix_faults(config.get("fix", ()), list(fixes))]
    if faults:
        raise SubclassError(f"{type(env).__name__}: " + "\n  ".join(faults))
    return config


def _number_faults(config: dict[str, Any]) -> Iterator[str]:
    for key in NUMBERS:
        if config.get(key) is None and (key not in config or key in ("episode_length", "max_penalty")):
            continue  # 24 steps, no cap
        try:
            value = float(config[key])
        except (TypeError, ValueError):
            yield f'env_config["{key}"] must be a number, not {config[key]!r}'
            continue
        if math.isnan(value) or (math.isinf(value) and key != "max_penalty"):
            yield f'env_config["{key}"] must be finite, not {value}'
        elif key == "base_power" and value == 0.0:
            yield 'env_config["base_power"] must not be 0: observed loads are divided by it; leave it out for 1'
        elif key == "episode_length" and value < 0.0:
            yield f'env_config["episode_length"] is {config[key]!r}; give a number of steps, or leave it out for 24'


def _fix_faults(names: Any, known: list[str]) -> Iterator[str]:
    if not known:
        return  # an environment without this key
    if isinstance(names, str):
        names = [names]
    if not isinstance(names, Collection):
        yield f'env_config["fix"] must be a name or several, not {names!r}; known: {", ".join(known)}'
        return
    for name in names:
        if name not in known:
            parts = (f'env_config["fix"]: no defect is called {name!r}', nearest(str(name), known))
            yield "; ".join([*filter(None, parts), f"known: {', '.join(known)}"])


def pp_get_idx_safe(net: Any, table: str, name: str) -> int | None:
    """Row of the element called `name`, None where there is none or the name is not unique."""
    frame = net[table]
    if "name" not in frame.columns:
        return None
    found = frame.index[(frame["name"] == name).to_numpy(bool)]
    return int(found[0]) if len(found) == 1 else None


def attach_device_to_net(net: Any, area_name: str, dev: Device) -> tuple[str, int]:
    """Find a device's element by its full name, or create it.

    Parameters
    ----------
    net
        pandapower net.
    area_name
        Prefix of the names; none if empty.
    dev
        The device.

    Returns
    -------
    table, index
        Where it is. A grid is always the first external grid.

    Raises
    ------
    SubclassError
        If there is no such bus, transformer or switch, or no rule for this class of device.
    """
    name = f"{area_name} {dev.name}" if area_name else dev.name
    if isinstance(dev, Grid):
        return "ext_grid", 0
    rules: tuple[tuple[Any, str], ...] = (
        ((DG, RES), "sgen"), (ESS, "storage"), (Shunt, "shunt"), (Transformer, "trafo"), (Switch, "switch"),
    )  # fmt: skip
    table = next((table for kinds, table in rules if isinstance(dev, kinds)), "")
    if not table:
        known = "DG, RES, ESS, Shunt, Transformer, Grid, Switch"
        raise SubclassError(
            f'device "{dev.name}" is a {type(dev).__name__}, which has no place in a net; derive it from one of {known}'
        )
    index = pp_get_idx_safe(net, table, name)
    if index is not None:
        return table, index
    if table in ("trafo", "switch"):
        there = ", ".join(str(found) for found in net[table]["name"]) or "none"
        raise SubclassError(f'the net has no {table} "{name}" for the device "{dev.name}"; there are: {there}')
    return table, _create(net, table, dev, name, _bus(net, area_name, dev))


def _bus(net: Any, area_name: str, dev: Any) -> int:
    name = f"{area_name} {dev.bus}" if area_name else dev.bus
    bus = pp_get_idx_safe(net, "bus", name)
    if bus is None:
        from powergrid.core.errors import nearest

        hint = nearest(str(name), [str(found) for found in net["bus"]["name"]])
        raise SubclassError(f'device "{dev.name}": the net has no bus "{name}"; {hint or "look at net.bus.name"}')
    return bus


def _create(net: Any, table: str, dev: Any, name: str, bus: int) -> int:
    import pandapower as pp

    if table == "shunt":
        return int(pp.create_shunt(net, bus, q_mvar=dev.q_mvar, step=0, max_step=dev.max_step, name=name))
    common = {
        "p_mw": dev.state.P, "q_mvar": dev.state.Q, "sn_mva": dev.sn_mva, "max_p_mw": dev.max_p_mw,
        "min_p_mw": dev.min_p_mw, "max_q_mvar": dev.max_q_mvar, "min_q_mvar": dev.min_q_mvar, "name": name,
    }  # fmt: skip
    if table == "sgen":
        return int(pp.create_sgen(net, bus, **common))
    energy = {"max_e_mwh": dev.max_e_mwh, "min_e_mwh": dev.min_e_mwh, "soc_percent": dev.state.soc}
    return int(pp.create_storage(net, bus, **common, **energy))


def keep_within_limits(dev: Device) -> None:
    """Clip a device's action to its range, and a battery's to the power that its charge allows in one step."""
    if dev.action.range is not None:
        dev.action.c[:] = np.clip(dev.action.c, *dev.action.range)
    dev.feasible_action()


class Columns:
    """Writes values into single rows of tables, whole columns at a time.

    Values are collected and written once, for one write costs about the same however many rows it changes.
    """

    def __init__(self, net: Any):
        self.net = net
        self._pending: dict[tuple[str, str], tuple[list[int], list[Any]]] = {}

    def set(self, table: str, index: int, **values: Any) -> None:
        """Note the values of one row by column; columns that the table lacks are left out."""
        for column, value in values.items():
            rows, found = self._pending.setdefault((table, column), ([], []))
            rows.append(index)
            found.append(value)

    def write(self) -> None:
        """Write the noted values into the tables."""
        for (table, column), (rows, values) in self._pending.items():
            frame = self.net[table]
            if column in frame.columns:
                write_rows(frame, column, rows, values)
        self._pending.clear()


def write_rows(frame: Any, column: str, rows: Any, values: Any) -> None:
    """``frame.loc[rows, column] = values`` for rows that exist, at a tenth of its cost where the type stays."""
    at = _positions(frame, rows)
    old = frame[column].to_numpy()
    given = np.asarray(values)
    if (old.dtype.kind == "f" and given.dtype.kind in "fiu") or old.dtype.kind == given.dtype.kind == "b":
        if (old[at] != given).any():  # NaN is unequal to itself, and written
            new = old.copy()
            new[at] = given
            frame[column] = new
    elif not all(old[k] == value for k, value in zip(at, np.broadcast_to(given, len(at)), strict=True)):
        frame.loc[rows, column] = values


def _positions(frame: Any, rows: Any) -> np.ndarray:
    labels, wanted = frame.index.to_numpy(), np.asarray(rows)
    if len(labels) and labels[0] == 0 and labels[-1] == len(labels) - 1 and frame.index.is_monotonic_increasing:
        return wanted  # pandapower's usual numbering, unique by construction
    return np.asarray(frame.index.get_indexer(wanted))


class AreaRows:
    """Rows whose name belongs to an area, stored while the names do not change.

    Parameters
    ----------
    exact
        True asks for the area's name as prefix. v1 searched it anywhere in the name, so that ``"MG1"`` also finds
        ``"MG10 Bus 650"``.
    """

    def __init__(self, *, exact: bool = False):
        self.exact = exact
        self._found: dict[tuple[str, str], tuple[np.ndarray, Any, Any, np.ndarray]] = {}

    def __call__(self, net: Any, table: str, area: str) -> Any:
        """Index labels of those rows."""
        return self._looked_up(net, table, area)[2]

    def places(self, net: Any, table: str, area: str) -> np.ndarray:
        """Positions of those rows in the table and in its results."""
        return self._looked_up(net, table, area)[3]

    def _looked_up(self, net: Any, table: str, area: str) -> tuple[np.ndarray, Any, Any, np.ndarray]:
        frame = net[table]
        names = frame["name"].to_numpy()
        held = self._found.get((table, area))
        if held is not None and frame.index is held[1] and len(held[0]) == len(names) and (held[0] == names).all():
            return held
        if self.exact and area:
            rows = frame.index[[str(name) == area or str(name).startswith(f"{area} ") for name in names]]
        else:
            from pandapower.toolbox import get_element_index

            rows = get_element_index(net, table, area, exact_match=False)
        held = names.copy(), frame.index, rows, np.asarray(frame.index.get_indexer(rows))
        self._found[table, area] = held
        return held
