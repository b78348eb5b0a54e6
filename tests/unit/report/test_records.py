"""Records hold what the environment does, close the books of power and money, and come back from disk."""

import numpy as np
import pytest

import powergrid
from powergrid.core.errors import RunError
from powergrid.plugins.registries import DEVICES
from powergrid.report import load_record, record_day, save_record
from powergrid.report.balance import balance
from powergrid.report.records import technology

DAY, SEED = 138, 5


@pytest.fixture(scope="module")
def env():
    return powergrid.make("p2p_microgrids")


@pytest.fixture(scope="module")
def record(env):
    return record_day(env, "rule_based", day=DAY, seed=SEED)


def test_a_record_is_the_episode_of_the_environment(env, record):
    env.reset(seed=SEED, options={"day": DAY})
    for tick in range(96):
        output = env.step_array(env.policy_array("rule_based").astype(np.float32)).output
        np.testing.assert_allclose(record.p_mw[tick], output.p_mw, atol=1e-9)
        np.testing.assert_allclose(record.money[tick], output.money, atol=1e-9)
        np.testing.assert_allclose(record.v_pu[tick], output.flow.v_pu, atol=1e-9)
        np.testing.assert_allclose(record.transfers[tick], output.transfers, atol=1e-9)
    assert record.alive.all()
    assert record.soc.shape == (97, 3)


def test_recorded_actions_and_functions_repeat_the_day(env, record):
    again = record_day(env, record.actions, day=DAY, seed=SEED)
    np.testing.assert_array_equal(again.money, record.money)
    ticks = iter(record.actions)
    played = record_day(env, lambda observation: next(ticks), day=DAY, seed=SEED)
    np.testing.assert_array_equal(played.soc, record.soc)
    other = record_day(env, lambda observation: np.zeros((3, 3)), day=DAY, seed=SEED)
    assert np.abs(other.soc - record.soc).max() > 0.1


def test_actions_of_another_shape_are_refused(env, record):
    with pytest.raises(RunError, match=r"\(1, 95, 3, 3\) do not fit"):
        record_day(env, record.actions[:-1], day=DAY)


def test_power_of_every_account_is_accounted_for(record):
    for account in record.names.accounts:
        book = balance(record, account)
        lost = book.unexplained_mw()
        assert (lost > 0.0).all()  # what is missing is loss, and loss only
        assert lost.sum() < 0.02 * sum(book.sources.values()).sum()
        both = np.minimum(book.sources["grid"], book.uses.get("grid", 0.0))
        assert both.max() == 0.0


def test_trades_balance_and_lie_between_the_tariffs(record):
    bought = record.p2p_bought_mwh
    np.testing.assert_allclose(bought.sum(1), 0.0, atol=1e-12)
    traded = np.abs(bought).max(1) > 1e-6
    assert traded.any()
    series = [name.split(":")[0] for name in record.names.series]
    retail, feed_in = (record.series[:, series.index(name)] for name in ("retail_per_mwh", "feed_in_per_mwh"))
    price = record.p2p_price_per_mwh[:, 0]
    assert ((price >= feed_in - 1e-6) & (price <= retail + 1e-6))[traded].all()
    np.testing.assert_allclose(record.transfers.sum(1), 0.0, atol=1e-9)


def test_names_say_what_columns_are(record):
    names = record.names
    kinds = dict(zip(names.units.tolist(), names.unit_kind.tolist(), strict=True))
    assert (kinds["pv_1"], kinds["wind_2"], kinds["dg_3"], kinds["ess_1"]) == ("solar", "wind", "generator", "storage")
    assert names.unit_account[names.units == "pv_3"] == ["microgrid_3"]
    assert names.storage.tolist() == ["ess_1", "ess_2", "ess_3"]
    assert record.v_pu.shape[1] == len(names.buses)
    assert record.money.shape[1:] == (len(names.accounts), len(names.money))
    assert record.measured_mw.shape[1] == len(names.meters)


def test_energy_and_charge_agree(record):
    """Charge moves by what the terminal says, with the efficiencies of the preset."""
    p_mw = record.p_mw[:, record.names.unit_kind == "storage"]
    stored_mw = -np.where(p_mw > 0.0, p_mw / 0.95, 0.95 * p_mw)
    np.testing.assert_allclose(np.diff(record.soc, axis=0), stored_mw * float(record.dt_h), atol=1e-9)


def test_records_come_back_from_disk(record, tmp_path):
    save_record(tmp_path / "day.npz", record)
    back = load_record(tmp_path / "day.npz")
    for name, value in record._asdict().items():
        if name != "names":
            np.testing.assert_array_equal(getattr(back, name), value)
    assert back.names.accounts.tolist() == record.names.accounts.tolist()


def test_what_is_no_record_is_refused(tmp_path):
    with pytest.raises(RunError, match="no such record"):
        load_record(tmp_path / "none.npz")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(RunError, match="not a record"):
        load_record(tmp_path / "other.npz")


def test_devices_with_their_own_meters(env):
    record = record_day(powergrid.make("ieee34_multi"), "rule_based", day=DAY)
    np.testing.assert_allclose(record.metered_mw, -record.p_mw[:, [0, 1, 2, 3, 4]], atol=1e-12)
    assert np.isnan(record.p2p_bought_mwh).all()


@pytest.mark.parametrize(
    ("name", "params", "kind"),
    [
        ("Renewable", {"kind": "wind"}, "wind"),
        ("WindTurbine", {}, "wind"),
        ("SolarPlant", {}, "solar"),
        ("HeatPump", {"kind": "ground"}, "heatpump"),
        ("Storage", {}, "storage"),
    ],
)
def test_devices_are_shown_by_their_technology(name, params, kind):
    assert technology(DEVICES.get(name)("unit", "bus", **params)) == kind
