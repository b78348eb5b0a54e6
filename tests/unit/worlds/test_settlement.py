"""Stored energy is settled at what putting it back after the episode costs, per unit and known from the reset on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import powergrid

SMALL = {"capacity_mwh": 1.0, "max_p_mw": 0.5, "eta_charge": 0.8}
LARGE = {"capacity_mwh": 4.0, "max_p_mw": 0.25}


def make(*devices: dict[str, Any], time_step: int = 3600, ticks: int = 24, **keys: Any) -> Any:
    network = {"base": "ieee13", "load_scale": 0.3}
    simulation = {"episode_length": ticks, "time_step": time_step}
    return powergrid.make(
        {"network": network, "agents": list(devices), "simulation": simulation}, backend="numpy", **keys
    )


def battery(id: str, **params: Any) -> dict[str, Any]:
    return {"id": id, "type": "ESS", "bus": "671", "params": params}


def refill(env: Any, first_hour: int, hours: int, efficiency: float, within: int = 24, tick_h: int = 1) -> float:
    """By hand, from the dataset's hourly prices."""
    price = env.world.resolved.dataset().series("price_per_mwh:lz_north").values
    after = price[(first_hour + np.arange(24)) % len(price)]
    held = after.reshape(-1, tick_h).mean(axis=1).repeat(tick_h)
    retail = np.maximum(held, 0.0) + 45.0
    return float(np.sort(retail[:within])[:hours].mean() / efficiency)


def prices(env: Any, day: int) -> dict[str, float]:
    return dict(env.export_episode(day).prices.settlement_per_mwh)


@pytest.mark.parametrize(("time_step", "ticks"), [(3600, 24), (900, 96), (7200, 12), (300, 288)])
def test_each_unit_has_the_price_of_its_own_refill(time_step, ticks):
    env = make(battery("ess_1", **SMALL), battery("ess_2", **LARGE), time_step=time_step, ticks=ticks)
    found, tick_h = prices(env, 100), max(time_step // 3600, 1)
    assert found["ess_1"] == pytest.approx(refill(env, 101 * 24, 2, 0.8, tick_h=tick_h))
    assert found["ess_2"] == pytest.approx(refill(env, 101 * 24, 14, 0.95, tick_h=tick_h))
    labels = [label for label in env.observation_labels("ess_1") if label.startswith("settlement")]
    env.reset(seed=0, options={"day": 100})
    assert [env.global_state()[label] for label in labels] == pytest.approx([found["ess_1"]])


def test_after_the_last_day_the_first_follows():
    env = make(battery("ess_1", **SMALL))
    assert prices(env, 364)["ess_1"] == pytest.approx(refill(env, 0, 2, 0.8))


def test_an_episode_of_two_days_is_settled_after_the_second():
    env = make(battery("ess_1", **SMALL), ticks=48)
    assert prices(env, 100)["ess_1"] == pytest.approx(refill(env, 102 * 24, 2, 0.8))


def test_heat_that_cannot_wait_is_put_back_within_hours():
    pump = {"id": "hp_1", "type": "HeatPump", "bus": "671"}
    env = make(pump)
    assert prices(env, 100)["hp_1"] == pytest.approx(refill(env, 101 * 24, 1, 1.0, within=4))


def test_a_generators_start_follows_no_price_of_energy():
    generator = {"id": "dg_1", "type": "DG", "bus": "671", "params": {"p_max_mw": 0.3}}
    alone, beside = make(generator), make(generator, battery("ess_1", **SMALL))
    assert len(alone.world.layout.ledger.settle_columns) == len(beside.world.layout.ledger.settle_columns) == 1


def test_filling_up_or_running_empty_for_the_settlement_is_worth_nothing():
    """At one price all day, over a whole cycle, a battery can only lose what conversion and wear take."""
    env = make(battery("ess_1", **SMALL, wear_cost_per_mwh=0.0), **{"tariff.feed_in_share": 0.0})
    settled = prices(env, 100)["ess_1"]
    env.reset(seed=0, options={"day": 100})
    paid, money = 0.0, list(env.money_names)
    retail = []
    while env.agents:
        columns = env.world.layout.columns
        retail.append(float(env.world.table[int(env._state.row)][columns.column("retail_per_mwh")]))
        env.step({"ess_1": np.array([-1.0])})
        paid += env.output.money[0].sum()
    stored, drawn = 0.4, 0.4 / 0.8
    assert paid == pytest.approx(drawn * retail[0] - stored * settled)
    assert money.count("settlement") == 1
