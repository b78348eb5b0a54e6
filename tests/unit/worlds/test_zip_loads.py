"""Loads that follow the voltage, from a pandapower file, in an environment."""

from __future__ import annotations

import numpy as np
import pandapower as pp
import pandapower.networks as nw
import pytest

import powergrid


def test_a_step_solves_them_as_runpp_does(tmp_path) -> None:
    net = nw.case33bw()
    net.load["const_z_p_percent"], net.load["const_i_q_percent"] = 60.0, 40.0
    file = tmp_path / "zip.json"
    pp.to_json(net, str(file))
    config = {
        "network": {"file": str(file)},
        "agents": [{"id": "ess_1", "type": "ESS", "bus": "17", "params": {"capacity_mwh": 1.0, "max_p_mw": 0.2}}],
    }
    env = powergrid.make(config)
    env.reset(seed=0, options={"day": 3})
    row = env.world.table[3 * env.world.ticks_per_day]
    share = row[env.world.layout.grid.load_series]
    assert share.shape == (1,)
    env.step({"ess_1": np.zeros(env.action_space("ess_1").shape, np.float32)})
    net.load[["p_mw", "q_mvar"]] *= share[0]
    pp.runpp(net, tolerance_mva=1e-10)
    names = list(env.world.network.buses.name)
    assert len(names) == len(net.bus)
    np.testing.assert_allclose(env.output.flow.v_pu, net.res_bus.vm_pu, atol=1e-7)
    assert env.output.flow.p_slack_mw == pytest.approx(net.res_ext_grid.p_mw.sum(), abs=1e-6)
