"""Marginal carbon: observed by all agents, and an account of each agent in every kind of environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import powergrid
from powergrid import datasets
from powergrid.core.errors import ConfigError
from powergrid.datasets import Series
from powergrid.learn.evaluate import evaluate

RATE = 0.3 + 0.2 * np.sin(np.arange(35_040) / 96 * 2 * np.pi)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The embedded year with a marginal emission rate [t/MWh]."""
    file = tmp_path_factory.mktemp("carbon") / "year.npz"
    year = datasets.load("embedded_2022").with_series({"carbon_t_per_mwh:made_up": Series(RATE, 900)})
    datasets.save(year, file)
    return str(file)


def changes(stored: str, **more: Any) -> dict[str, Any]:
    return {"datasets": stored, "carbon": {"series": "carbon_t_per_mwh"}, "episode_length": 8, **more}


def test_the_account_is_the_net_import_at_the_rate_of_the_tick(stored: str) -> None:
    env = powergrid.make("p2p_microgrids", backend="numpy", **changes(stored))
    _, infos = env.reset(seed=0, options={"day": 200})
    assert all(info["carbon_kg"] == 0.0 for info in infos.values())
    names = env.world.layout.meters.names
    for tick in range(8):
        _, _, _, _, infos = env.step({agent: np.zeros(env.action_space(agent).shape) for agent in env.agents})
        rate = RATE[200 * 96 + tick]
        for k in (1, 2, 3):
            import_mw = env.output.measured_mw[names.index(f"mg{k}.pcc")]
            assert infos[f"microgrid_{k}"]["carbon_kg"] == pytest.approx(import_mw * 0.25 * rate * 1000.0)
        total = sum(account["carbon_kg"] for account in env.accounts.values())
        assert total == pytest.approx(sum(info["carbon_kg"] for info in infos.values()))


def test_all_agents_observe_the_rate(stored: str) -> None:
    env = powergrid.make("p2p_microgrids", backend="numpy", **changes(stored))
    bare = powergrid.make("p2p_microgrids", backend="numpy", datasets=stored)
    env.reset(seed=0, options={"day": 10})
    for agent in env.possible_agents:
        assert env.observation_space(agent).shape[0] == bare.observation_space(agent).shape[0] + 1
        assert sum("carbon_t_per_mwh" in label for label in env.observation_labels(agent)) == 1
        assert "carbon_t_per_mwh" not in str(bare.observation_labels(agent))


def test_every_kind_of_environment_counts_the_same(stored: str) -> None:
    given = changes(stored)
    kinds = {name: powergrid.make("p2p_microgrids", backend=name, **given) for name in ("numpy", "fused")}
    found: dict[str, list[float]] = {name: [] for name in (*kinds, "vector")}
    for name, env in kinds.items():
        env.reset(seed=5, options={"day": 40})
        for _ in range(8):
            _, _, _, _, infos = env.step({agent: np.full(env.action_space(agent).shape, 0.3) for agent in env.agents})
            found[name].append(infos["microgrid_2"]["carbon_kg"])
    vector = powergrid.make_vec("p2p_microgrids", 2, **given)
    vector.reset(seed=5, options={"day": 40})
    for _ in range(8):
        actions = {agent: np.full((2, *env.action_space(agent).shape), 0.3) for agent in vector.possible_agents}
        _, _, _, _, infos = vector.step(actions)
        assert infos["carbon_kg"]["microgrid_2"].shape == (2,)
        found["vector"].append(infos["carbon_kg"]["microgrid_2"][0])
    assert found["fused"] == pytest.approx(found["numpy"], abs=1e-7)
    assert found["vector"] == pytest.approx(found["numpy"], abs=1e-7)  # the last tick counts although the episode ended
    assert max(map(abs, found["numpy"])) > 1.0


def test_the_functional_environment_counts_the_same(stored: str) -> None:
    jax = pytest.importorskip("jax")
    env = powergrid.make_functional(site(stored), days=[40])
    key = jax.random.PRNGKey(0)
    _, state = env.reset(key)
    actions = {name: np.zeros((len(ids), env.action_size[name]), np.float32) for name, ids in env.groups.items()}
    _, _, _, _, info = jax.jit(env.step)(key, state, actions)
    plain = powergrid.make(site(stored), backend="numpy")
    plain.reset(seed=0, options={"day": 40})
    plain.step({agent: np.zeros(plain.action_space(agent).shape) for agent in plain.agents})
    wanted = [account["carbon_kg"] for account in plain.accounts.values()]
    assert np.asarray(info["carbon_kg"]) == pytest.approx(wanted, rel=1e-3, abs=1e-3)


def test_jax_and_numpy_count_alike(stored: str) -> None:
    jnp = pytest.importorskip("jax.numpy")
    world = powergrid.make("p2p_microgrids", backend="numpy", **changes(stored)).world
    rng = np.random.default_rng(0)
    measured, row = rng.normal(size=(3, len(world.layout.meters.names))), rng.uniform(size=(3, world.table.width))
    wanted = world.carbon.kg(np, measured, row)
    assert wanted.shape == (3, len(world.layout.accounts))
    assert np.asarray(world.carbon.kg(jnp, jnp.asarray(measured), jnp.asarray(row))) == pytest.approx(
        wanted, rel=1e-4, abs=1e-3
    )


def site(stored: str) -> dict[str, Any]:
    return {
        "network": {"base": "ieee13", "load_scale": 0.5},
        "datasets": stored,
        "carbon": "carbon_t_per_mwh",
        "simulation": {"episode_length": 8},
        "agents": [
            {"id": "battery", "type": "ESS", "bus": 671, "params": {"capacity_mwh": 1, "max_p_mw": 0.5},
             "policy": "learned"},
        ],
    }  # fmt: skip


def test_evaluations_have_the_account(stored: str) -> None:
    found = evaluate("p2p_microgrids", policy=("rule_based", "idle"), days=[30, 31], show=False, bound=False)
    assert not found["idle"].carbon_kg
    config = powergrid.load_config("p2p_microgrids")
    counted = evaluate(
        powergrid.make(config, **changes(stored)).world.resolved, policy=("rule_based", "idle"), days=[30, 31],
        show=False, bound=False,
    )  # fmt: skip
    kg = counted.to_dict()["policies"]["idle"]["carbon_kg_per_day"]
    assert set(kg) == {"microgrid_1", "microgrid_2", "microgrid_3"}
    assert kg["microgrid_1"] == pytest.approx(counted["idle"].carbon_kg["microgrid_1"].mean())
    assert kg["microgrid_1"] != 0.0


def test_a_series_that_is_not_there_is_refused(stored: str) -> None:
    with pytest.raises(ConfigError, match="has no series"):
        powergrid.load_config(site(stored) | {"datasets": "embedded_2022"})
    assert "carbon" not in powergrid.load_config("p2p_microgrids").to_yaml()
    assert "carbon_t_per_mwh" in powergrid.load_config(site(stored)).to_yaml()


def test_the_sgip_signal_is_read_as_published(shared: Path, tmp_path: Path) -> None:
    """A month of the signal, repeated over a year, by the reader of files: kg/kWh are t/MWh."""
    month = pd.read_csv(shared / "data-samples" / "emissions" / "sgip_caiso_sce_moer_5min_2020-08.csv.gz")
    rates = np.resize(month["moer"].to_numpy(), 365 * 288)
    stamps = pd.date_range("2021-01-01", periods=len(rates), freq="5min")
    pd.DataFrame({"time": stamps.strftime("%Y-%m-%d %H:%M"), "moer": rates}).to_csv(tmp_path / "moer.csv", index=False)
    place = {"path": "moer.csv", "unit": "kg/kWh"}
    mine = datasets.from_series({"carbon_t_per_mwh:sgip": place}, folder=tmp_path)
    assert mine.series("carbon_t_per_mwh:sgip").values == pytest.approx(rates)
    assert mine.at("carbon_t_per_mwh:sgip", 900).mean() == pytest.approx(rates.mean())
