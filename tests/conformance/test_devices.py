"""Every registered device family passes the public examiner, in its default form and in its richest one."""

import pytest

from powergrid.plugins.registries import DEVICES
from powergrid.testing import check_device

RICH = {
    "Storage": [
        {"sn_mva": 0.6, "soc_init_spread": 0.6, "self_discharge_per_h": 0.01, "eta_charge": 0.9},
        {"capacity_mwh": 0.05, "max_p_mw": 0.5, "sn_mva": 0.5},
        {"replacement_cost_per_mwh": 150_000.0, "cell_temp_c": 40.0, "depth_exponent": 1.0},
    ],
    "Generator": [
        {"kind": "gas_turbine", "p_max_mw": 2.0},
        {"p_range": [0.1, 0.4], "marginal_cost_slope_per_mw2h": 80.0, "ramp_mw_per_h": 0.4, "no_load_cost_per_h": 3.0},
        {
            "p_range": [0.1, 0.4],
            "sn_mva": 0.5,
            "min_power_factor": 0.8,
            "commitment": True,
            "ramp_mw_per_h": 1.0,
            "min_up_h": 0.5,
            "min_down_h": 0.25,
            "start_up_h": 0.25,
            "shut_down_h": 0.25,
            "start_cost": 5.0,
            "shut_down_cost": 2.0,
        },
    ],
    "Renewable": [{"kind": "wind", "sn_mva": 0.08}, {"curtailable": False, "sn_mva": 0.1}],
    "Load": [{"q_mvar": 0.05, "curtailable_share": 0.3}],
    "Capacitor": [{"control": "manual", "move_cost": 1.0}, {"control": "fixed", "on_init": False}],
    "Regulator": [{"local_control": False, "move_cost": 0.5, "tap_init": 3.4}],
    "GridConnection": [{"p_max_mw": 0.3}],
    "SolarPlant": [
        {"wind_series": "wind_speed_m_s:here", "sn_mva": 0.12, "azimuth_degree": 90.0},
        {
            "curtailable": False,
            "sn_mva": 0.08,
            "latitude_degree": -35.0,
            "longitude_degree": 149.0,
            "utc_offset_h": 10.0,
        },
    ],
    "WindTurbine": [{"sn_mva": 1.8, "hub_height_m": 80.0, "curtailable": False}],
    "RunOfRiver": [{"series": "flow_m3_s:river", "sn_mva": 0.15}],
    "Statcom": [{"no_load_loss_share": 0.0}],
    "HeatPump": [{"kind": "ground", "supply_temp_c": 50.0, "r_k_per_kw": 0.5}],
    "WaterHeater": [{"daily_draw_l": 0.0, "evening_h": 23.0}],
    "EVCharger": [
        {"v2g": True, "arrival_spread_h": 3.0, "arrival_h": 8.0, "departure_h": 17.0},
        {"v2g": True, "stay_series": "ev_stay_h:garage", "trip_series": "ev_trip_mwh:garage"},
    ],
    "EVFleet": [{"v2g": True, "away_share": 0.0}],
    "FuelCell": [{"ramp_mw_per_h": 0.2, "auxiliary_share": 0.0}],
    "CHP": [{"min_load_share": 0.0, "buffer_mwh": 0.02}],
    "DataCenter": [{"max_wait_h": 0.5, "batch_share": 0.3}],
    "Biomass": [{"store_t": 1.0, "delivery_t_per_h": 0.2}],
    "Electrolyzer": [{"tank_kg": 5.0, "demand_kg_per_h": 12.0}, {"demand_kg_per_h": 0.0, "v_ratio": 1.0}],
}


@pytest.mark.parametrize("name", DEVICES.names())
def test_family_conforms(name: str) -> None:
    check_device(name)


@pytest.mark.parametrize(("name", "params"), [(name, params) for name, many in RICH.items() for params in many])
def test_family_conforms_with_every_feature(name: str, params: dict) -> None:
    check_device(name, **params)
