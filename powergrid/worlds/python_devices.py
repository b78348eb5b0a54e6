"""Plain Python devices of a configuration: a test run of each, and the series that they read."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from powergrid.agents.base import Agent
from powergrid.agents.device_agent import DeviceAgent
from powergrid.core.errors import ConfigError, DeviceError, Issue
from powergrid.core.types import Array
from powergrid.datasets.bases import SHORT_NAMES
from powergrid.datasets.dataset import Dataset
from powergrid.engine.assembly.kernel_trial import check_kernels
from powergrid.engine.layout import Layout
from powergrid.engine.python.trial import examined
from powergrid.worlds.exogenous import resolve

ALIASES = {**SHORT_NAMES, "ambient_temp": "ambient_temp_c", "electricity_price": "price_per_mwh"}
"""Short names of quantities in ``self.dataset[...]``."""


def prepare(agents: Sequence[Agent], dataset: Dataset, dt_s: float, ticks: int) -> Callable[[str, Array], Array] | None:
    """Test every device that is not built in, and return a reader of the series of plain Python devices.

    Parameters
    ----------
    agents
        All agents.
    dataset
        A :class:`~powergrid.datasets.dataset.Dataset`.
    dt_s
        Tick [s].
    ticks
        Ticks of an episode.

    Returns
    -------
    Callable or None
        See `reader`; ``None`` where there are no plain Python devices.

    Raises
    ------
    ConfigError
        With one issue per device that has a fault.
    """
    read = reader(dataset, dt_s)
    issues, plain = [], False
    for i, agent in enumerate(agents):
        if not isinstance(agent, DeviceAgent):
            continue
        try:
            if agent.is_python():
                plain = True
                agent.dt, agent.dt_h = float(dt_s), dt_s / 3600.0  # type: ignore[attr-defined]
                facts = examined(agent, read, ticks)
                agent.facts = facts._replace(series=tuple(_column(dataset, name) for name in facts.series))
            else:
                check_kernels(agent, read, dt_s / 3600.0)
        except DeviceError as error:
            issues.append(Issue(f"agents[{i}]", str(error), "`powergrid check` examines the folder it comes from"))
    if issues:
        raise ConfigError(issues)
    return read if plain else None


def _column(dataset: Dataset, name: str) -> str:
    return "hour" if name == "hour" else resolve(dataset, quantity(name))


def quantity(name: str) -> str:
    """Full name of a series or quantity that a device reads."""
    return ALIASES.get(name, name)


def reader(dataset: Dataset, dt_s: float) -> Callable[[str, Array], Array]:
    """Return a function ``(name, rows) -> values`` of a series, quantity or short name; rows wrap around the year."""

    def read(name: str, rows: Array) -> Array:
        if quantity(name) == "hour":
            hours: Array = rows % round(86_400 / dt_s) * dt_s / 3600.0
            return hours
        values: Array = dataset.at(resolve(dataset, quantity(name)), int(dt_s), rows)
        return values

    return read


def refuse_switching(layout: Layout) -> None:
    """Refuse plain Python devices in a network whose parts may lose their voltage.

    Raises
    ------
    ConfigError
        If there are plain Python devices and the network has switches or outages.
    """
    if layout.python is not None and layout.grid.switching is not None:
        names = ", ".join(f'"{template.unit.id}"' for template in layout.python.templates)
        raise ConfigError(
            [
                Issue(
                    "agents",
                    f"plain Python devices ({names}) are updated before it is known which parts of the network have "
                    "voltage, so they run only in networks without switches and outages",
                    f"leave the switches and outages out, or {_KERNEL_FORM}",
                )
            ]
        )


def refuse_on_jax(layout: Layout) -> None:
    """Refuse plain Python devices on JAX, which traces arrays and no objects.

    Raises
    ------
    ConfigError
        If there are plain Python devices; the message says what to write instead.
    """
    if layout.python is None:
        return
    units = [template.unit for template in layout.python.templates]
    raise ConfigError(
        [
            Issue(
                f"agents: {unit.id}",
                f"{type(unit).__name__} is a plain Python device, which runs on the CPU only: JAX cannot trace "
                "update_state",
                _KERNEL_FORM,
            )
            for unit in units
        ]
    )


_KERNEL_FORM = (
    "write its kernel form: give the class Settings, State and Command and a static method step(xp, params, state, "
    "command, exogenous, dt_h) -> (state, Injection(p_mw, q_mvar)) without `if` on values; `powergrid new device NAME` "
    "writes one to start from"
)
