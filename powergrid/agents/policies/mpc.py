"""Model predictive control: the operation of least cost over a horizon, planned anew at every decision."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from powergrid.agents.base import Observation
from powergrid.agents.device_agent import DeviceAgent, LinearDevice
from powergrid.agents.python_policy import PythonPolicy, Site
from powergrid.core.errors import AgentError
from powergrid.core.settings import NumberSettings
from powergrid.planning.dispatch import Before, Dispatch, Meter, Problem, Trade, least_cost, relaxed
from powergrid.planning.program import NoOptimumError
from powergrid.plugins import register_policy

_log = logging.getLogger("powergrid")
_NOTHING_MW = 1e-3
"""Power below which nothing has been traded or left [MW]."""
_POWER = ("p", "p_share", "served_share", "commit")
"""Names of what commands say of active power."""


class Settings(NumberSettings):
    """Parameters of a planner."""

    horizon_h: float = Field(24.0, gt=0, description="how far a plan looks ahead, at most to the episode's end [h]")
    terminal_price_per_mwh: float | None = Field(
        None,
        description="worth of energy that is stored at the end of a plan [$/MWh]; not given: the price at which the "
        "episode settles it, which the agent observes",
    )
    commitment: Literal["relaxed", "milp"] = Field(
        "relaxed",
        description="relaxed: a unit is on where the linear program has at least half of it on; milp: whole numbers, "
        "which take longer",
    )
    gap_percent: float = Field(
        0.1, ge=0, le=100, description="cost above the best bound at which a search for whole numbers ends [%]"
    )
    trade_growth_percent: float = Field(
        5.0,
        ge=0,
        le=100,
        description="on a market: trades that a plan expects beyond those of the last tick [% of its units' power]; 0: "
        "it plans with the utility's tariff alone",
    )


@register_policy("mpc")
class ModelPredictiveControl(PythonPolicy):
    """Plans the devices of one agent with what the agent itself knows, and takes the first step of the plan.

    At every decision the policy solves a linear program over the horizon: devices by their linear models with what they
    hold now, its own meters with load and tariff, day-ahead prices and forecasts as the agent observes them, errors
    included, and the last known value beyond them. The network, its losses and its limits are no part of the program.
    A coordinator plans all devices that it commands together. A limit price on a market is the cost of one more MWh
    behind its meter, the dual of the balance; a price that it sends makes the tariff of its children show this cost. A
    member of a market expects to trade at its
    last price as much as in the last tick, and a little more where nothing was left to the utility. An agent that
    plans for all members of a market pools their energy in one balance.

    Reactive power, taps and capacitors stay as they are before the first decision. Where a program has no optimum, the
    policy plans without ramps and times, and holds the last action if that fails too; `counts` says how often.
    """

    Settings = Settings

    def start(self, site: Site) -> None:
        """Find what can be planned.

        Raises
        ------
        AgentError
            If the agent has nothing to plan, or commands a device whose linear model leaves out what it is for.
        """
        super().start(site)
        self.counts = {"plans": 0, "relaxed": 0, "failed": 0}
        own = {owner for owner, _ in site.decisions if owner in site.devices}
        self.planned = {id for id in own if _power_is_chosen(site, id)}
        loose = sorted(id for id in own if not _plannable(site.devices[id]) and site.devices[id].role == "injection")
        if loose:
            named = ", ".join(f'"{id}" ({type(site.devices[id]).__name__})' for id in loose)
            raise AgentError(
                f'agent "{site.agent.id}": mpc cannot plan for {named}, whose linear model leaves out what the device '
                "is for; give it policy: rule_based, and mpc to the others"
            )
        if any(meaning in ("price", "power") for meaning in site.meanings):
            self.planned |= {id for id, device in site.devices.items() if device.action_entries()}
        self.planned = {id for id in self.planned if _plannable(site.devices[id])}
        if not self.planned:
            choices = ", ".join(entry.label(owner) for owner, entry in site.decisions)
            raise AgentError(
                f'agent "{site.agent.id}": mpc has nothing to plan: it plans active power, and the agent chooses '
                f"{choices or 'nothing'}; give it another policy, such as rule_based"
            )

    def act(self, observation: Observation) -> Mapping[str, float]:
        """Physical values of the first step of the plan; what they leave out holds."""
        site, settings = self.site, self.settings
        steps = min(round(settings.horizon_h / site.dt_h), site.episode_length - site.tick) // site.interval
        forecast = site.forecast(max(steps, 1) * site.interval)
        problem = self._problem(observation, forecast, max(steps, 1))
        self.counts["plans"] += 1
        try:
            plan = least_cost(problem, gap=settings.gap_percent / 100.0)
        except NoOptimumError as error:
            self._count("relaxed", error)
            try:
                plan = least_cost(relaxed(problem))
            except NoOptimumError as failure:
                self._count("failed", failure)
                return {}
        columns = site.world.layout.columns
        return first_step(site, problem, plan, float(forecast[columns.series[columns.price]][0]))

    def _problem(self, observation: Observation, forecast: Mapping[str, np.ndarray], steps: int) -> Problem:
        """The program of a decision, one step for each decision to come."""
        site = self.site
        models = {
            id: model if id in self.planned else _foreseen(model, _reading(observation, f"{id}.p"))
            for id, model in site.linear(forecast).items()
        }
        models = {id: _by_steps(model, site.interval) for id, model in models.items()}
        meters = []
        for meter in site.meters(forecast):
            units = tuple(unit for unit in meter.units if unit in models)
            columns = (meter.load_mw, meter.retail_per_mwh, meter.feed_in_per_mwh)
            load_mw, retail, feed_in = (_mean(values, site.interval) for values in columns)
            if np.isnan(load_mw).any():
                load_mw = np.full(steps, _load_now(observation, meter, units))
            market = meter.market if meter.market in site.whole_markets else ""
            read = meter._replace(
                units=units, load_mw=load_mw, retail_per_mwh=retail, feed_in_per_mwh=feed_in, market=market
            )
            trade = self._trade(observation, read, models) if meter.market and not market else None
            meters.append(read._replace(trade=trade))
        known = site.settlement_per_mwh()
        terminal = self.settings.terminal_price_per_mwh
        return Problem(
            dt_h=site.dt_h * site.interval,
            ticks=steps,
            linear=models,
            meters=meters,
            settlement_per_mwh={id: known.get(id, 0.0) if terminal is None else terminal for id in models},
            before={id: _before(observation, id) for id in models},
            commitment=self.settings.commitment,
        )

    def _trade(self, observation: Observation, meter: Meter, models: Mapping[str, LinearDevice]) -> Trade | None:
        """Trades to expect: at the last price, as much as last, and some more where all that was offered was taken."""
        labels, step_h = self.site.trade_labels, self.site.dt_h
        readings = [_reading(observation, labels.get(name, "")) for name in ("trade_price", "traded_energy")]
        price, bought_mwh, import_mw = *readings, _reading(observation, f"{meter.name}.p")
        if price is None or bought_mwh is None or import_mw is None or self.settings.trade_growth_percent == 0.0:
            return None
        ends = [(models[unit].p_min_mw, models[unit].p_max_mw) for unit in meter.units]
        largest_mw = sum(float(np.max(np.abs(power))) for powers in ends for power in powers) / 2.0
        more_mw = self.settings.trade_growth_percent / 100.0 * largest_mw
        return _expected_trade(meter, price, bought_mwh / step_h, import_mw, more_mw)

    def _count(self, kind: str, error: NoOptimumError) -> None:
        """Count a plan without an optimum, and warn of the first, the tenth, the hundredth and so on."""
        self.counts[kind] += 1
        count = self.counts[kind]
        if count == 10 ** (len(str(count)) - 1):
            what = "is planned without ramps and times" if kind == "relaxed" else "holds its last action"
            plans = self.counts["plans"]
            _log.warning('agent "%s" (mpc), tick %d: %s; it %s (%d of %d plans)',
                         self.site.agent.id, self.site.tick, error, what, count, plans)  # fmt: skip


def first_step(site: Site, problem: Problem, plan: Dispatch, price_per_mwh: float) -> dict[str, float]:
    """Physical values of an agent's decisions in the first step of a plan, by label; the price is the market's now."""
    chosen: dict[str, float] = {}
    for (owner, entry), meaning in zip(site.decisions, site.meanings, strict=True):
        if meaning:
            value = _order(site, problem, plan, owner, meaning, price_per_mwh)
        else:
            value = _command(problem, plan, owner, entry.name)
        if value is not None:
            chosen[entry.label(owner)] = value
    return chosen


def _command(problem: Problem, plan: Dispatch, unit: str, name: str) -> float | None:
    """Value of one field of a device's command; ``None`` where a plan says nothing of it."""
    if unit not in plan.p_mw:
        return None
    p_mw, model = float(plan.p_mw[unit][0]), problem.linear[unit]
    if name == "p":
        return p_mw
    if name == "commit":
        return float(plan.on[unit][0] >= 0.5) if unit in plan.on else None
    if name in ("p_share", "served_share"):
        whole_mw = float(np.ravel(model.p_max_mw if name == "p_share" else model.p_min_mw)[0])
        return p_mw / whole_mw if abs(whole_mw) > 1e-12 else 1.0
    return None


def _order(
    site: Site, problem: Problem, plan: Dispatch, owner: str, meaning: str, price_per_mwh: float
) -> float | None:
    """Value of an order: a price, the place of the marginal value in the tariff, or the power planned for a child."""
    if meaning == "power":
        below = [
            agent for child in site.agent.subordinates if child.id == owner for agent in (child, *child.descendants())
        ]
        return sum(float(plan.p_mw[agent.id][0]) for agent in below if agent.id in plan.p_mw)
    if not problem.meters:
        return None
    if meaning == "price":
        return price_per_mwh + float(np.mean([_beyond_tariff(site, plan, meter) for meter in problem.meters]))
    value = float(np.mean([plan.value_per_mwh[meter.name][0] for meter in problem.meters]))
    retail, feed_in = (
        float(np.mean([prices[0] for prices in column]))
        for column in zip(*((m.retail_per_mwh, m.feed_in_per_mwh) for m in problem.meters), strict=True)
    )
    return min(max((value - feed_in) / max(retail - feed_in, 1e-9), 0.0), 1.0)


def _beyond_tariff(site: Site, plan: Dispatch, meter: Meter) -> float:
    """What the cost of one more MWh behind a meter exceeds the price by that units behind it compare it with [$/MWh].

    Generators whose output is within what is needed behind the meter save the retail price. With the plan's value in
    its place they stop where the plan does; those that sell go on to where the feed-in price says.
    """
    here = [unit for unit in meter.units if unit in plan.p_mw]
    burning = [unit for unit in here if type(site.devices[unit]).marginal_cost is not DeviceAgent.marginal_cost]
    offered = [unit for unit in here if type(site.devices[unit]).available is not DeviceAgent.available]
    burnt_mw, offered_mw = (sum(float(plan.p_mw[unit][0]) for unit in units) for units in (burning, offered))
    sells = burnt_mw > max(float(meter.load_mw[0]) - offered_mw, 0.0) + _NOTHING_MW
    compared = meter.feed_in_per_mwh if sells else meter.retail_per_mwh
    return float(plan.value_per_mwh[meter.name][0] - compared[0])


def _expected_trade(meter: Meter, price_per_mwh: float, bought_mw: float, import_mw: float, more_mw: float) -> Trade:
    """Trades to expect after those of the last tick.

    The price keeps its place between feed-in and retail price; without a trade it is halfway. Each side may grow by
    `more_mw`, but not where something was left for the utility: there is nobody for more of it.
    """
    traded, left_mw = abs(bought_mw) > _NOTHING_MW, import_mw - bought_mw
    band = meter.retail_per_mwh - meter.feed_in_per_mwh
    place = (price_per_mwh - meter.feed_in_per_mwh[0]) / max(band[0], 1e-9) if traded else 0.5
    buy_mw = max(bought_mw, 0.0) + (more_mw if left_mw < _NOTHING_MW else 0.0)
    sell_mw = max(-bought_mw, 0.0) + (more_mw if left_mw > -_NOTHING_MW else 0.0)
    return Trade(meter.feed_in_per_mwh + min(max(place, 0.0), 1.0) * band, buy_mw, sell_mw)


def _plannable(device: DeviceAgent) -> bool:
    return device.plannable and type(device).linear is not DeviceAgent.linear


def _power_is_chosen(site: Site, id: str) -> bool:
    """Whether the agent chooses a device's active power."""
    return any(
        owner == id and entry.name in ("p", "p_share", "served_share", "commit") for owner, entry in site.decisions
    )


def _foreseen(model: LinearDevice, now_mw: float | None) -> LinearDevice:
    """A device that somebody else commands: all that sun, wind and water offer, all its load, else its power now."""
    varies = np.ndim(model.p_max_mw) > 0 or np.ndim(model.p_min_mw) > 0
    if varies or now_mw is None:
        p_mw = np.where(np.asarray(model.p_max_mw) > 0.0, model.p_max_mw, model.p_min_mw)
    else:
        p_mw = np.asarray(now_mw)
    return LinearDevice(p_min_mw=p_mw, p_max_mw=p_mw)


def _before(observation: Observation, id: str) -> Before:
    """What the agent has seen a device do."""
    status, wait_h = _reading(observation, f"{id}.status"), _reading(observation, f"{id}.wait")
    on = status is None or status > 0.5
    return Before(_reading(observation, f"{id}.p"), on, wait_h or 0.0)


def _load_now(observation: Observation, meter: Meter, units: Sequence[str]) -> float:
    """Load behind a meter whose loads the agent does not see: what it reads now and what its units inject [MW]."""
    import_mw = _reading(observation, f"{meter.name}.p")
    if import_mw is None:
        return 0.0
    return import_mw + sum(_reading(observation, f"{unit}.p") or 0.0 for unit in units)


def _reading(observation: Observation, label: str) -> float | None:
    """A reading by its label without the unit, ``None`` where the agent does not observe it."""
    return float(observation[label]) if label in observation.entries else None


def _mean(values: Any, interval: int) -> Any:
    """Means over the steps of a plan of values by tick; numbers stay as they are."""
    return values if interval == 1 or np.ndim(values) == 0 else np.reshape(values, (-1, interval)).mean(axis=1)


def _by_steps(model: LinearDevice, interval: int) -> LinearDevice:
    return model._replace(p_min_mw=_mean(model.p_min_mw, interval), p_max_mw=_mean(model.p_max_mw, interval))
