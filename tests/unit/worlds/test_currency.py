"""Prices in a currency of small units: nothing depends on a number of dollars."""

import numpy as np
import pytest

import powergrid
from powergrid.core.errors import ConfigError

YEN = [12_000.0 + 6000.0 * (hour % 24 > 16) for hour in range(8760)]


@pytest.fixture(scope="module")
def tokyo(tmp_path_factory):
    file = tmp_path_factory.mktemp("prices") / "tokyo.csv"
    file.write_text("hour,price\n" + "\n".join(f"{hour},{price}" for hour, price in enumerate(YEN)))
    battery = {"id": "b", "type": "ESS", "bus": "671", "params": {"capacity_mwh": 1.0, "max_p_mw": 0.3}}
    return {"network": {"base": "ieee13"}, "datasets": {"price": str(file)}, "agents": [battery]}


@pytest.mark.parametrize("days", ["train", "stress"])
def test_prices_are_seen_as_they_are(tokyo, days):
    env = powergrid.make(tokyo, days=days, time_step=3600, episode_length=24)
    seen = env.reset(seed=0)[0]["b"]
    assert env.observation_space("b").contains(seen)
    told = dict(zip(env.observation_labels("b"), seen, strict=True))
    assert told["price_per_mwh:user [$/MWh]"] == 12_000
    assert told["price_per_mwh:user+17h [$/MWh]"] == 18_000
    retail = next(value for label, value in told.items() if label.startswith("retail_per_mwh"))
    assert retail == 12_045
    env.step({"b": env.action_space("b").sample()})


def test_usual_prices_keep_their_bounds():
    env = powergrid.make("ieee34_microgrid")
    agent = env.possible_agents[0]
    rows = [k for k, label in enumerate(env.observation_labels(agent)) if label.startswith("price_per_mwh")]
    assert rows
    assert (env.observation_space(agent).high[rows] == 10_000).all()


def test_an_empty_split_is_told_with_its_price_and_its_key(tokyo):
    with pytest.raises(ConfigError, match=r"have a price above 1,000 and form the split.*\n.*training\.stress_price"):
        powergrid.make(tokyo, stress_price=1000.0)
    with pytest.raises(ConfigError, match="no price exceeds the stress price of 20000"):
        powergrid.make(tokyo, stress_price=20_000.0, days="stress")


def test_a_market_clears_above_ten_thousand(tokyo):
    shop = {"type": "GridCoordinator", "policy": "learned"}
    unit = {"type": "ESS", "params": {"capacity_mwh": 1.0, "max_p_mw": 0.3}}
    config = {
        **tokyo,
        "agents": [
            {"id": "north", "sub_agents": ["b1"], **shop},
            {"id": "south", "sub_agents": ["b2"], **shop},
            {"id": "b1", "bus": "671", **unit},
            {"id": "b2", "bus": "680", **unit},
        ],
        "protocols": [{"type": "p2p_trading", "members": ["north", "south"]}],
    }
    env = powergrid.make(config, backend="numpy", time_step=3600, episode_length=24)
    env.reset(seed=0)
    (row,) = [k for k, label in enumerate(env.observation_labels("north")) if "p2p_price" in label]
    assert env.observation_space("north").high[row] == 20_000
    assert np.isfinite(env.observation_space("north").low[row])
