"""Charging sessions become the series that an EV charger reads, and the charger follows them."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

import powergrid
from powergrid.core.errors import DataError, UnknownNameError
from powergrid.datasets.ev_sessions import WEEK_H, Session, read_sessions, series, write_series


def session(begin: str, end: str, kwh: float) -> Session:
    return Session(datetime.fromisoformat(f"2019-{begin}"), datetime.fromisoformat(f"2019-{end}"), kwh / 1000.0)


def test_stay_counts_down_and_the_trip_belongs_to_the_next_vehicle() -> None:
    stay_h, trip_mwh = series(
        [session("01-02T09:10", "01-02T10:20", 8.0), session("01-01T08:00", "01-01T09:00", 5.0)], 2019
    )
    assert stay_h[31:37] == pytest.approx([0.0, 1.0, 0.75, 0.5, 0.25, 0.0])
    # from the first whole quarter hour to the last
    assert np.flatnonzero(stay_h[96:192]).tolist() == [37, 38, 39, 40]
    assert (trip_mwh[:32] == 0.005).all()
    assert (trip_mwh[36:133] == 0.008).all()
    assert trip_mwh[32:36].sum() == trip_mwh[133:].sum() == 0.0


def test_vehicles_that_follow_each_other_leave_an_interval_between() -> None:
    stay_h, trip_mwh = series(
        [session("03-01T08:00", "03-01T10:00", 5.0), session("03-01T09:00", "03-01T11:00", 6.0)], 2019
    )
    day = stay_h[59 * 96 : 60 * 96]
    assert np.flatnonzero(day[32:44] == 0.0).tolist() == [8]
    assert trip_mwh[59 * 96 + 40] == 0.006


def test_a_stay_over_the_end_of_february_and_one_of_weeks() -> None:
    leap = [Session(datetime(2020, 2, 28, 23), datetime(2020, 3, 1, 1), 0.01)]
    stay_h, _ = series(leap, 2020, 3600)
    assert np.flatnonzero(stay_h).tolist() == [58 * 24 + 23, 59 * 24]
    long, _ = series([session("05-01T00:00", "06-01T00:00", 5.0)], 2019)
    assert long.max() == WEEK_H


@pytest.mark.parametrize(
    ("given", "interval_s", "sentence"),
    [([session("01-02T09:00", "01-02T08:00", 1.0)], 900, "before it begins"), ([], 7000, "does not divide a day")],
)
def test_what_is_no_session_is_refused(given: list[Session], interval_s: int, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        series(given, 2019, interval_s)


def test_file_is_read_by_station(tmp_path: Path) -> None:
    file = tmp_path / "sessions.csv"
    head = "arrival,departure,requested_energy (kWh),station_id"
    file.write_text(f"{head}\n2019-05-01 06:33:14-07:00,2019-05-01 11:50:55-07:00,21.84,CA-314\n")
    (found,) = read_sessions(file, "CA-314")
    assert found == Session(datetime(2019, 5, 1, 6, 33, 14), datetime(2019, 5, 1, 11, 50, 55), pytest.approx(0.02184))
    with pytest.raises(UnknownNameError, match='did you mean "CA-314"'):
        read_sessions(file, "CA-341")
    file.write_text(f"{head}\nyesterday,today,1,CA-314\n")
    with pytest.raises(DataError, match="line 2"):
        read_sessions(file, "CA-314")
    for line, sentence in (
        ("2019-05-01,2019-05-02,nan,CA-314", "line 2: nan kWh requested"),
        ("2019-05-01,2019-05-02,-3,CA-314", "from 0 to 5,000 kWh"),
        ("2019-05-01,2019-05-02,21840,CA-314", "line 2: 21840 kWh requested"),
        ("2019-05-01", "give ISO stamps"),
    ):
        file.write_text(f"{head}\n{line}\n")
        with pytest.raises(DataError, match=sentence):
            read_sessions(file, "CA-314")
    with pytest.raises(DataError, match="cannot be read"):
        read_sessions(tmp_path / "absent.csv", "CA-314")
    file.write_text("arrival,departure\n")
    with pytest.raises(DataError, match="no column requested_energy"):
        read_sessions(file, "CA-314")


def test_charger_follows_the_sessions_of_a_file(tmp_path: Path) -> None:
    stays = [session(f"05-{day:02d}T09:00", f"05-{day:02d}T15:00", 12.0) for day in (6, 7)]
    write_series(stays, tmp_path / "garage.csv", 2019)
    env = powergrid.make(
        {
            "name": "garage",
            "network": {"base": "ieee13"},
            "datasets": {
                "ev_stay_h:garage": str(tmp_path / "garage.csv:stay"),
                "ev_trip_mwh:garage": str(tmp_path / "garage.csv:trip"),
            },
            "agents": [
                {
                    "id": "ev",
                    "type": "EVCharger",
                    "bus": "671",
                    "params": {"stay_series": "ev_stay_h:garage", "trip_series": "ev_trip_mwh:garage", "soc_init": 0.7},
                },
                {"id": "meter", "type": "Grid"},
            ],
            "simulation": {"episode_length": 144, "time_step": 900},
        }
    )
    observations, _ = env.reset(seed=0, options={"day": 125})
    labels, seen = list(env.observation_labels("ev")), []
    places = [labels.index(f"ev.{name}") for name in ("soc [1]", "connected [1]", "stay [h]")]
    while env.agents:
        observations, *_ = env.step(env.policy_actions("rule_based"))
        seen.append(observations["ev"][places])
    soc, here, stay_h = np.array(seen).T
    assert np.flatnonzero(here).tolist() == [*range(36, 60), *range(132, 144)]
    assert stay_h[36] == pytest.approx(5.75)
    assert soc[59] == pytest.approx(0.8, abs=1e-6)
    assert soc[60] == pytest.approx(0.6, abs=1e-6)  # 12 kWh of 60 are gone when it comes back
