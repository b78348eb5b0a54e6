"""Pictures of how each device behaves, for its reference page: a characteristic, and a day under its own rule."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from powergrid import datasets
from powergrid.agents.device_agent import Outlook
from powergrid.plugins.registries import DEVICES
from powergrid.report.style import LIMIT, MICROGRID, RC

DT_H = 0.25
DAY = 20
"""Day of the embedded year that the second picture shows: a cold one with two price peaks."""
SHOWN: dict[str, dict[str, Any]] = {
    "FuelCell": {"hydrogen_price_per_kg": 1.5},
    "Generator": {"marginal_cost_slope_per_mw2h": 80.0},
    "Load": {"curtailable_share": 0.3},
    "Storage": {"wear_cost_per_mwh": 0.0},
}
"""Parameters other than the defaults in the picture of the day; the page says so."""
STEADY = ("RunOfRiver", "StaticGenerator", "Statcom")
"""Types with constant power over the day; they have no plot of it."""

Curve = Callable[[Axes], None]
CURVES: dict[str, Curve] = {}


def curve(name: str) -> Callable[[Curve], Curve]:
    """Register the characteristic of a device type."""

    def decorate(draw: Curve) -> Curve:
        CURVES[name] = draw
        return draw

    return decorate


def picture(name: str, file: Path) -> bool:
    """Draw a device's pictures; false if there is nothing to show."""
    draw = CURVES.get(name)
    runs = DEVICES.get(name).role == "injection" and name not in STEADY
    if draw is None and not runs:
        return False
    import matplotlib

    with matplotlib.rc_context(RC):
        wide = draw is not None and runs
        figure = Figure(figsize=(9.0 if wide else 4.6, 3.2), layout="constrained")
        axes = np.atleast_1d(figure.subplots(1, 2 if wide else 1))
        if draw is not None:
            draw(axes[0])
        if runs:
            day(axes[-1], name)
        figure.savefig(file, dpi=130)
    return True


# -- one unit alone ------------------------------------------------------------------------------------------------


def unit(name: str, **params: Any) -> tuple[Any, Any]:
    """A unit and its row of parameters."""
    made = DEVICES.get(name)("unit", "bus", **params)
    return made, made.params()


def once(made: Any, row: Any, command: tuple[Any, ...], series: tuple[Any, ...] = (), dt_h: float = DT_H) -> Any:
    """State and injection after one tick, over arrays of commands and series."""
    shape = np.broadcast_shapes(*(np.shape(values) for values in (*command, *series)))
    start = made.reset(np, row, np.full(shape, 0.5))
    return made.step(np, row, start, made.Command(*command), made.Exogenous(*series), dt_h)


def run(made: Any, row: Any, commands: Any, series: Any, dt_h: float = DT_H) -> tuple[list[Any], np.ndarray]:
    """States and power over ticks, one command and one row of series each."""
    state, states, power = made.reset(np, row, 0.5), [], []
    for command, now in zip(commands, series, strict=True):
        state, injection = made.step(np, row, state, made.Command(*command), made.Exogenous(*now), dt_h)
        states.append(state)
        power.append(float(injection.p_mw))
    return states, np.array(power)


@cache
def series_of_day() -> dict[str, np.ndarray]:
    """Series of the day by quantity, a second day of prices behind."""
    year = datasets.load("embedded")
    window = year.window(DAY, 192, 900)
    found = {name.split(":")[0]: window[name] for name in reversed(year.columns)}
    hours, season = np.arange(192) * DT_H, 2 * np.pi * DAY / 365
    angle = 2 * np.pi * hours / 24
    clock = (np.sin(angle), np.cos(angle), np.full(192, np.sin(season)), np.full(192, np.cos(season)))
    names = ("clock_day_sin", "clock_day_cos", "clock_year_sin", "clock_year_cos")
    return {**found, **dict(zip(names, clock, strict=True)), "hour": hours % 24}


def _refill_price(made: Any, price: np.ndarray) -> float:
    """What it costs to put energy back in the cheapest hours of the second day [$/MWh]."""
    refill = made.refill()
    if refill is None:
        return 0.0
    cheapest = np.sort(np.maximum(price[96::4], 0.0) + 45.0)[: max(int(np.ceil(refill.hours)), 1)]
    return float(cheapest.mean() / refill.efficiency)


def day(axes: Axes, name: str) -> None:
    """Power over the day under the device's rule, and its first observation that is not a power."""
    made, row = unit(name, **SHOWN.get(name, {}))
    window, wanted = series_of_day(), made.series()
    price = window["price_per_mwh"]
    columns = [window.get(wanted.get(field, field), np.ones(192)) for field in made.Exogenous._fields]
    state, power, seen = made.reset(np, row, np.array([0.5])), [], []
    for tick in range(96):
        now = made.Exogenous(*(values[tick : tick + 1] for values in columns))
        spot, ahead = np.maximum(price[tick : tick + 1], 0.0), price[tick + 4 : tick + 97 : 4, None]
        hour, load_mw = window["hour"][tick : tick + 1], np.array([0.3])
        settled = np.array([_refill_price(made, price)])
        view = Outlook(spot, spot + 45.0, 0.9 * spot, ahead, ahead.mean(0), load_mw, hour, settled)
        state, injection = made.step(np, row, state, made.rule(np, row, state, now, view, DT_H), now, DT_H)
        power.append(float(injection.p_mw[0]))
        seen.append([float(value[0]) for value in made.readings(np, row, state, injection)])
    scale, word = (1000.0, "kW") if max(map(abs, power)) < 0.1 else (1.0, "MW")
    hours = np.arange(97) * DT_H
    axes.stairs(scale * np.array(power), hours, baseline=None, color=MICROGRID[0], linewidth=1.6)
    axes.set(title="A winter day under its rule", xlabel="hour", xlim=(0, 24), xticks=range(0, 25, 6))
    axes.set_ylabel(f"injected power [{word}]", color=MICROGRID[0])
    entries = made.observation_entries()
    other = next((k for k, entry in enumerate(entries) if entry.unit not in ("MW", "Mvar")), None)
    level = [] if other is None else [values[other] for values in seen]
    if np.ptp(level or [0.0]) > 1e-6:
        twin = axes.twinx()
        twin.plot(hours[1:], level, color=MICROGRID[1], linewidth=1.2)
        if np.ptp(level) < 0.05 * abs(level[-1]):
            twin.set_ylim(0.9 * level[-1], 1.1 * level[-1])
        twin.set_ylabel(f"{entries[other].name} [{entries[other].unit}]", color=MICROGRID[1])
        twin.spines["right"].set_visible(True)
        twin.grid(False)


# -- characteristics -----------------------------------------------------------------------------------------------


def labelled(axes: Axes, title: str, x: str, y: str) -> None:
    """Title and labels; a legend where curves have names."""
    axes.set(title=title, xlabel=x, ylabel=y)
    if axes.get_legend_handles_labels()[1]:
        axes.legend()


@curve("Storage")
def _(axes: Axes) -> None:
    made, row = unit("Storage", max_p_mw=0.4, sn_mva=0.5)
    angle = np.linspace(0.0, 2.0 * np.pi, 400)
    _, injection = once(made, row, (np.cos(angle), np.sin(angle)))
    axes.plot(injection.p_mw, injection.q_mvar)
    axes.set_aspect("equal")
    labelled(axes, "Capability, sn_mva 0.5", "power [MW]", "reactive power [Mvar]")


@curve("Generator")
def _(axes: Axes) -> None:
    angle = np.linspace(0.0, 2.0 * np.pi, 400)
    for factor in (None, 0.8):
        made, row = unit("Generator", p_min_mw=0.1, p_max_mw=0.4, sn_mva=0.5, min_power_factor=factor)
        reach = (0.25 + np.cos(angle), np.sin(angle), np.ones(400))
        _, injection = once(made, row, reach)
        axes.plot(injection.p_mw, injection.q_mvar, label="circle" if factor is None else f"power factor {factor}")
    axes.set_aspect("equal")
    axes.set_xlim(0.0, 1.1)
    labelled(axes, "Capability, sn_mva 0.5", "power [MW]", "reactive power [Mvar]")


@curve("Renewable")
def _(axes: Axes) -> None:
    made, row = unit("Renewable", p_max_mw=0.5, sn_mva=0.5)
    angle = np.linspace(0.0, np.pi, 300)
    for offered in (0.4, 0.8, 1.0):
        share = np.clip(np.sin(angle) / offered, 0.0, 1.0)
        _, injection = once(made, row, (share, np.cos(angle)), (np.full(300, offered),))
        axes.plot(injection.p_mw, injection.q_mvar, label=f"series at {offered}")
    axes.set_aspect("equal")
    axes.set_xlim(0.0, 1.1)
    labelled(axes, "Capability, sn_mva 0.5", "power [MW]", "reactive power [Mvar]")


@curve("WindTurbine")
def _(axes: Axes) -> None:
    made, row = unit("WindTurbine")
    speed = np.linspace(0.0, 28.0, 561)
    _, injection = once(made, row, (np.ones(561), np.zeros(561)), (speed,))
    axes.plot(speed, injection.p_mw)
    labelled(axes, "Power curve", "wind speed [m/s]", "power [MW]")


@curve("SolarPlant")
def _(axes: Axes) -> None:
    year, hours = datasets.load("embedded"), np.arange(96) * DT_H
    names = ("ghi_w_m2:greensboro", "dni_w_m2:greensboro", "ambient_temp_c:greensboro")
    angle, season = 2 * np.pi * hours / 24, 2 * np.pi * 180 / 365
    window = year.window(180, 96, 900)
    clock = (np.sin(angle), np.cos(angle), np.full(96, np.sin(season)), np.full(96, np.cos(season)))
    ways = (("south, 25 degrees", 180.0, 25.0), ("west, 60 degrees", 270.0, 60.0), ("flat", 180.0, 0.0))
    for label, azimuth, tilt in ways:
        made, row = unit("SolarPlant", azimuth_degree=azimuth, tilt_degree=tilt)
        now = made.Exogenous(*(window[name] for name in names), np.zeros(96), *clock)
        axes.plot(hours + DT_H / 2, 1000.0 * made.available(np, row, now, DT_H), label=label)
    axes.set(xticks=range(0, 25, 6), ylim=(0.0, 145.0))
    labelled(axes, "A clear day, 30 June", "hour", "available power [kW]")


@curve("RunOfRiver")
def _(axes: Axes) -> None:
    made, row = unit("RunOfRiver", series="flow_m3_s:river")
    flow = np.linspace(0.0, 3.0, 601)
    zero = np.zeros(601)
    _, injection = once(made, row, (zero + 1.0, zero), (zero, zero, flow))
    axes.plot(flow, 1000.0 * injection.p_mw)
    labelled(axes, "Power over river flow", "flow [m3/s]", "power [kW]")


@curve("FuelCell")
def _(axes: Axes) -> None:
    made, row = unit("FuelCell")
    power = np.linspace(0.002, 0.2, 200)
    state, injection = once(made, row, (power,))
    axes.plot(1000.0 * power, 100.0 * injection.p_mw / state.hydrogen_mw)
    labelled(axes, "Efficiency (lower heating value)", "net power [kW]", "efficiency [%]")


@curve("Electrolyzer")
def _(axes: Axes) -> None:
    made, row = unit("Electrolyzer", fill_init=0.0)
    power = np.linspace(0.025, 0.5, 200)
    state, _ = once(made, row, (-power,))
    axes.plot(1000.0 * power, 1000.0 * power * DT_H / state.made_kg)
    labelled(axes, "Electricity per kilogram of hydrogen", "power [kW]", "consumption [kWh/kg]")


@curve("CHP")
def _(axes: Axes) -> None:
    from powergrid.devices.chp import demand

    _, row = unit("CHP")
    outside = np.linspace(-20.0, 25.0, 200)
    axes.plot(outside, 1000.0 * demand(np, row, outside), label="heat demand")
    most = 1000.0 * row.p_max_mw * row.eta_heat / row.eta_electric
    axes.axhline(most, color=LIMIT, linestyle="--", label="engine at full power")
    labelled(axes, "Heat", "outdoor temperature [degC]", "heat [kW]")


@curve("Biomass")
def _(axes: Axes) -> None:
    made, row = unit("Biomass")
    states, power = run(made, row, [(row.p_max_mw,)] * 384, [()] * 384)
    hours = np.arange(1, 385) * DT_H
    axes.plot(hours, power, label="power [MW]")
    axes.plot(hours, [state.fuel_t / row.store_t for state in states], label="store [1]")
    axes.set(xticks=range(0, 97, 24), ylim=(0.0, 1.25))
    labelled(axes, "Full power from a store of 36 t", "hours", "")


@curve("HeatPump")
def _(axes: Axes) -> None:
    outside = np.linspace(-20.0, 20.0, 200)
    for kind in ("air", "ground"):
        for supply in (35.0, 55.0):
            made, row = unit("HeatPump", kind=kind, supply_temp_c=supply)
            state, injection = once(made, row, (np.ones(200),), (outside,))
            style = "-" if kind == "air" else "--"
            factor = state.heat_kw / (-1000.0 * injection.p_mw)
            axes.plot(outside, factor, style, label=f"{kind}, water {supply:.0f} degC")
    axes.set_ylim(0.0, 8.5)
    labelled(axes, "Coefficient of performance", "outdoor temperature [degC]", "heat per electricity [1]")


def warming(axes: Axes, name: str, commands: np.ndarray, outside: np.ndarray, title: str, **params: Any) -> None:
    """Temperature of one thermal mass under steps of the command."""
    made, row = unit(name, **params)
    states, power = run(made, row, [(value,) for value in commands], [(value,) for value in outside], 0.1)
    hours = np.arange(1, len(commands) + 1) * 0.1
    axes.plot(hours, [state.temp_c for state in states])
    axes.set_xlim(0.0, hours[-1])
    twin = axes.twinx()
    twin.fill_between(hours, -1000.0 * power, step="pre", color=MICROGRID[1], alpha=0.25, linewidth=0)
    twin.set_ylabel("power used [kW]", color=MICROGRID[1])
    twin.set_ylim(0.0, 3.0 * max(-1000.0 * power.min(), 1e-9))
    twin.spines["right"].set_visible(True)
    twin.grid(False)
    labelled(axes, title, "hours", "temperature [degC]")


@curve("AirConditioner")
def _(axes: Axes) -> None:
    command = np.where(np.arange(240) < 60, 0.0, np.where(np.arange(240) < 140, -0.4, 0.0))
    warming(axes, "AirConditioner", command, np.full(240, 32.0), "Cooling from hour 6 to 14, 32 degC outside")


@curve("WaterHeater")
def _(axes: Axes) -> None:
    command = np.where(np.arange(240) % 120 < 30, 1.0, 0.0)
    hour = np.arange(240) * 0.1
    warming(axes, "WaterHeater", command, hour, "On for three hours, twice a day")


@curve("EVCharger")
def _(axes: Axes) -> None:
    hours = np.arange(192) * DT_H
    for label, power in (("at once", -1.0), ("at 2 kW", -0.002)):
        made, row = unit("EVCharger")
        states, _ = run(made, row, [(power,)] * 192, [(hour % 24,) for hour in hours])
        axes.plot(hours + DT_H, [100.0 * state.soc for state in states], label=label)
    here = np.array([state.here for state in states]) > 0.5
    axes.fill_between(hours, 0, 100, where=here, step="post", color=MICROGRID[5], alpha=0.15, linewidth=0)
    axes.set(xticks=range(0, 49, 12), ylim=(0, 100))
    labelled(axes, "Charging while connected (grey)", "hours", "state of charge [%]")


@curve("EVFleet")
def _(axes: Axes) -> None:
    from powergrid.devices.ev_fleet import connected

    _, row = unit("EVFleet")
    hour = np.linspace(0.0, 24.0, 481)
    axes.plot(hour, 100.0 * connected(np, row, hour))
    axes.set(xticks=range(0, 25, 6), ylim=(0, 105))
    labelled(axes, "Vehicles that are connected", "hour", "share of the fleet [%]")


@curve("DataCenter")
def _(axes: Axes) -> None:
    made, row = unit("DataCenter")
    commands = [(0.0,)] * 40 + [(1.0,)] * 24 + [(0.0,)] * 32
    states, power = run(made, row, commands, [(0.6,)] * 96)
    hours = np.arange(1, 97) * DT_H
    axes.plot(hours, -power, label="power used [MW]")
    axes.plot(hours, [state.queue_mwh / row.queue_max_mwh for state in states], label="queue [1]")
    axes.set(xticks=range(0, 25, 6), ylim=(0.0, 2.1))
    labelled(axes, "Commands: wait, work from hour 10, wait", "hours", "")


@curve("Load")
def _(axes: Axes) -> None:
    retail = np.linspace(0.0, 1500.0, 301)
    zero = np.zeros(301)
    for share in (0.3, 0.6):
        made, row = unit("Load", curtailable_share=share)
        view = Outlook(retail, retail, retail, retail[None], retail, zero, zero)
        command = made.rule(np, row, made.State(zero), made.Exogenous(zero + 1.0), view, DT_H)
        _, injection = once(made, row, command, (zero + 1.0,))
        axes.plot(retail, -1000.0 * injection.p_mw, label=f"curtailable_share {share}")
    axes.set_ylim(0.0, 125.0)
    labelled(axes, "Demand over price under its rule", "retail price [$/MWh]", "power used [kW]")


@curve("Statcom")
def _(axes: Axes) -> None:
    made, row = unit("Statcom")
    voltage = np.linspace(0.0, 1.2, 200)
    for sign in (1.0, -1.0):
        _, injection = once(made, row, (np.full(200, sign * 9.0),), (voltage,))
        axes.plot(injection.q_mvar, voltage, color=MICROGRID[0], label="limits" if sign > 0 else None)
    close = np.linspace(0.95, 1.05, 100)
    wanted = made.rule(np, row, None, made.Exogenous(close), None, DT_H)
    axes.plot(np.clip(wanted.q_mvar, -row.sn_mva, row.sn_mva), close, color=MICROGRID[1], label="rule")
    labelled(axes, "Range over voltage", "reactive power [Mvar]", "voltage [pu]")


@curve("Capacitor")
def _(axes: Axes) -> None:
    made, row = unit("Capacitor")
    load = np.concatenate([np.linspace(0.3, 0.8, 200), np.linspace(0.8, 0.3, 200)])
    state, on = made.reset(np, row, 0.0)._replace(on=0.0), []
    for value in load:
        state, _ = made.step(np, row, state, made.idle(), made.Exogenous(value), DT_H)
        on.append(float(state.on))
    axes.plot(load[:200], on[:200], label="rising")
    axes.plot(load[200:], on[200:], "--", label="falling")
    axes.set(yticks=(0, 1), yticklabels=("off", "on"))
    labelled(axes, "Load control", "load series [pu]", "")


@curve("Regulator")
def _(axes: Axes) -> None:
    made, row = unit("Regulator")
    reading = np.linspace(0.9, 1.1, 801)
    zero = np.zeros(801)
    for dt_h, label in ((0.25, "tick of 15 min"), (1.0 / 60.0, "tick of 60 s")):
        allowed = made.allowed_moves(np, row, dt_h)
        steps = made.wanted_steps(np, row, made.State(zero, zero), reading, allowed + zero)
        axes.plot(reading, steps, label=label)
    labelled(axes, "Steps that the relay requests", "reading [pu]", "steps")


@curve("GridConnection")
def _(axes: Axes) -> None:
    made, row = unit("GridConnection", p_max_mw=0.6)
    flow = np.linspace(-0.8, 0.8, 321)
    for price in (30.0, 100.0):
        seen = made.Exogenous(flow * 0.0 + price + 45.0, flow * 0.0 + 0.9 * price, flow, flow)
        (bill,) = made.money(np, row, made.State(), None, seen, 1.0)
        axes.plot(flow, bill, label=f"price {price:.0f} $/MWh")
    axes.axvline(0.6, color=LIMIT, linestyle="--", linewidth=1.0, label="p_max_mw")
    labelled(axes, "Bill of an hour", "import [MW]", "cost [$]")
