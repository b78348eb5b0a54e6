"""Time-of-use rates and demand charges from a file: what meters charge in NumPy, compiled and on JAX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import powergrid
from powergrid import datasets
from powergrid.core.errors import ConfigError
from powergrid.datasets.tariff_file import read
from powergrid.testing import check_protocol

EXAMPLE = Path(__file__).resolve().parents[3] / "configs" / "tariffs" / "time_of_use.yaml"
PLAIN = """\
name: tou
energy:
  - {hours: [16, 21], per_mwh: 400}
  - {per_mwh: 200}
feed_in_per_mwh: 50
"""


@pytest.fixture
def tariff(tmp_path: Path) -> Path:
    file = tmp_path / "tou.yaml"
    file.write_text(PLAIN)
    return file


def site(file: Path, **more: Any) -> dict[str, Any]:
    """One microgrid with a battery behind a meter, and its load."""
    return {
        "network": {"base": "ieee34", "modifications": [
            {"attach": {"network": "ieee13", "name": "mg", "at_bus": 830, "load_scale": 0.2,
                        "transformer": {"sn_mva": 1.0, "vk_percent": 5.75, "vkr_percent": 0.75}}}]},
        "agents": [
            {"id": "grid", "type": "GridCoordinator", "area": "mg", "policy": "learned", "protocol": "setpoint",
             "sub_agents": ["b"]},
            {"id": "b", "type": "ESS", "bus": "mg.671", "params": {"capacity_mwh": 1, "max_p_mw": 0.25},
             "policy": "learned"},
        ],
        "tariff": {"file": str(file)},
        **more,
    }  # fmt: skip


def test_rates_by_season_day_and_clock() -> None:
    year = read(EXAMPLE).added_to(datasets.load("embedded_2022"))
    rates = year.series("retail_per_mwh:evening_peak").values.reshape(365, 24, 4)
    # the calendar is central standard time: clocks in Los Angeles are two hours behind it, one hour in summer
    assert rates[10, 17, 3] == 190.0
    assert (rates[10, 18:23] == 310.0).all()  # 16:00 to 21:00 there
    tuesday, saturday, fourth_of_july = 192, 189, 184
    assert (rates[tuesday, 17:22] == 420.0).all()
    assert (rates[saturday, 17:22] == 310.0).all()
    assert (rates[fourth_of_july, 17:22] == 310.0).all()
    assert rates[tuesday, 16, 3] == 190.0
    assert (rates[10, 0:8] == 140.0).all()  # 22:00 to 06:00
    assert (year.series("feed_in_per_mwh:evening_peak").values == 60.0).all()
    assert np.array_equal(year.split("stress"), datasets.load("embedded_2022").split("stress"))


def test_the_meter_charges_the_rate_of_the_hour(tariff: Path) -> None:
    env = powergrid.make(site(tariff), backend="numpy")
    env.reset(seed=0, options={"day": 200})
    paid, wanted = [], []
    while env.agents:
        tick = len(paid)
        env.step({agent: env.action_space(agent).sample() * 0.0 for agent in env.agents})
        meter = env.world.layout.meters.names.index("mg.pcc")
        import_mw = env.output.measured_mw[meter]
        rate = 400.0 if 64 <= tick < 84 else 200.0
        wanted.append(0.25 * (rate * max(import_mw, 0.0) - 50.0 * max(-import_mw, 0.0)))
        paid.append(env.accounts["grid"]["money"]["grid"])
    assert paid == pytest.approx(wanted, abs=1e-9)
    assert max(paid) > 0.0


@pytest.mark.parametrize("peak_init_mw", [0.0, 0.2])
def test_the_demand_charge_is_that_of_the_highest_import_in_its_hours(tariff: Path, peak_init_mw: float) -> None:
    tariff.write_text(f"{PLAIN}demand: {{per_kw: 12, hours: [16, 21], peak_init_mw: {peak_init_mw}}}\n")
    env = powergrid.make(site(tariff), backend="numpy")
    env.reset(seed=0, options={"day": 200})
    charged, imports = 0.0, []
    while env.agents:
        env.step({agent: np.sin(len(imports)) + env.action_space(agent).sample() * 0.0 for agent in env.agents})
        imports.append(env.output.measured_mw[env.world.layout.meters.names.index("mg.pcc")])
        charged += env.accounts["grid"]["money"]["demand"]
        assert env.output.transfers.sum() == pytest.approx(0.0, abs=1e-9)
    highest = max(imports[64:84])
    assert highest > peak_init_mw
    assert charged == pytest.approx(12_000.0 * (highest - peak_init_mw))
    assert env.global_state()["grid.demand_peak [MW]"] == pytest.approx(highest, abs=1e-6)


def test_compiled_and_reference_agree_where_peers_trade() -> None:
    """The auction settles the energy at the rates of the file, and the demand charge comes on top."""
    found = []
    for backend in ("numpy", "fused"):
        env = powergrid.make("p2p_microgrids", tariff={"file": str(EXAMPLE)}, backend=backend)
        env.reset(seed=3, options={"day": 40})
        rng, money = np.random.default_rng(0), []
        while env.agents:
            env.step({agent: rng.uniform(-1, 1, env.action_space(agent).shape) for agent in env.agents})
            money.append(env.output.money)
        found.append(np.stack(money))
    assert found[0] == pytest.approx(found[1], abs=1e-6)
    demand = env.world.layout.ledger.money_names.index("demand")
    assert found[0][..., demand].sum() > 0.0


def test_demand_charge_is_examined_on_all_backends() -> None:
    check_protocol("demand_charge", price_per_mw=100.0, hours=[1, 22])


def test_planning_knows_the_rates_of_the_hours_ahead(tariff: Path) -> None:
    config = site(tariff)
    config["agents"][0]["policy"] = "mpc"
    env = powergrid.make(config, backend="numpy")
    env.reset(seed=0, options={"day": 200})
    soc = []
    for _ in range(96):
        env.step({agent: 0.0 * env.action_space(agent).sample() for agent in env.agents})
        soc.append(env.global_state()["b.soc [1]"])
    assert soc[63] > 0.8  # full before the dear hours
    assert soc[84] < 0.3  # and empty after them


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (PLAIN.replace("  - {per_mwh: 200}\n", ""), "no period fits"),
        (PLAIN.replace("50", "300"), "feed-in 300 .* exceeds the rate 200"),
        (PLAIN.replace("per_mwh: 200", "per_mwh: 200, per_kwh: 0.2"), "one rate"),
        (PLAIN + "feed_in_share: 1\n", "give one of feed_in_per_mwh"),
        (PLAIN + "zone: Mars/X\n", "unknown time zone"),
        (PLAIN + "demnad: {}\n", "demnad"),
        (PLAIN + "zone: America/New_York\ndemand: {per_kw: 12, hours: [16, 21]}\n", "hours of standard time"),
        (PLAIN.replace("[16, 21]", "[16.1, 21]"), "no quarter hour"),
    ],
)
def test_faults_of_a_tariff_are_faults_of_the_configuration(tariff: Path, text: str, sentence: str) -> None:
    tariff.write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        powergrid.load_config(site(tariff))


def test_what_has_no_effect_is_refused(tariff: Path) -> None:
    with pytest.raises(ConfigError, match="stands beside file"):
        powergrid.load_config(site(tariff) | {"tariff": {"file": str(tariff), "retail_adder": 10}})
    tariff.write_text(PLAIN + "demand: {per_mw: 100}\n")
    alone = {"network": "ieee13", "tariff": {"file": str(tariff)}, "agents": [
        {"id": "b", "type": "ESS", "bus": 671, "params": {"capacity_mwh": 1, "max_p_mw": 0.5}}]}  # fmt: skip
    with pytest.raises(ConfigError, match="there is none"):
        powergrid.load_config(alone)


def test_exported_configurations_name_the_file(tariff: Path, tmp_path: Path) -> None:
    text = powergrid.load_config(site(tariff)).to_yaml(tmp_path)
    assert "file: tou.yaml" in text
    (tmp_path / "again.yaml").write_text(text)
    assert powergrid.load_config(tmp_path / "again.yaml").tariff().name == "tou"


def test_the_example_runs_and_a_plan_pays_less_for_energy() -> None:
    paid: dict[str, dict[str, float]] = {}
    for policy in ("idle", "mpc"):
        config = powergrid.load_config(EXAMPLE.parents[1] / "time_of_use.yaml")
        env = powergrid.make(
            config, backend="numpy", **{"agents.operator.policy": policy if policy == "mpc" else "learned"}
        )
        env.reset(seed=0, options={"day": 200})
        paid[policy] = {"grid": 0.0, "demand": 0.0, "settlement": 0.0}
        for _ in range(96):
            env.step({agent: np.zeros(env.action_space(agent).shape, np.float32) for agent in env.agents})
            for name in paid[policy]:
                paid[policy][name] += sum(account["money"][name] for account in env.accounts.values())
    assert paid["idle"]["demand"] > 0.0
    assert sum(paid["mpc"][name] for name in ("grid", "settlement")) < sum(
        paid["idle"][name] for name in ("grid", "settlement")
    )
