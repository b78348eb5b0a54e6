"""Options in ``net.user_pf_options``: applied, without effect on the solution, or refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from powergrid.core.errors import nearest

PandapowerNet: TypeAlias = Any
"""A ``pandapower.pandapowerNet``, or a table of one; pandapower has no types."""

SOLVER_OPTIONS = (
    "algorithm", "check_connectivity", "copy_constraints_to_ppc", "init", "init_results", "init_va_degree",
    "init_vm_pu", "lightsim2grid", "max_iteration", "numba", "only_v_results", "permc_spec", "recycle", "run_control",
    "tdpf_delay_s", "tdpf_update_r_theta", "tolerance_mva", "use_umfpack", "v_debug",
)  # fmt: skip
"""Options of the solver, which leave the solution as it is. It reads ``run_control`` from its own arguments only."""

ONLY_DEFAULT: Mapping[str, Any] = {
    "ac": True,
    "delta": 0,
    "delta_q": 0,
    "distributed_slack": False,
    "mode": "pf",
    "tdpf": False,
    "trafo_loading": "current",
}
"""Options of which only this value can be represented."""

_IGNORING_VOLTAGE = ("gs", "fdbx", "fdxb", "helm")
"""Algorithms with which ``runpp`` takes voltage-dependent loads for constant powers."""


class Options(NamedTuple):
    """Options that a conversion applies, with the defaults of ``runpp``.

    Attributes
    ----------
    calculate_voltage_angles
        False leaves out the phase shifts of transformers and the angles of external grids.
    consider_line_temperature
        Whether resistances follow ``line.temperature_degree_celsius``.
    enforce_p_lims
        Whether generation stays within ``min_p_mw`` and ``max_p_mw``.
    enforce_q_lims
        True and ``None`` keep the reactive limits of generators, False drops them; True also clips static generators.
    neglect_open_switch_branches
        Whether a branch with one open end is out of service.
    switch_rx_ratio
        Resistance over reactance of a switch with an impedance [1].
    trafo3w_losses
        Where the no-load losses of three-winding transformers are counted: ``hv``, ``mv``, ``lv`` or ``star``.
    trafo_model
        ``t`` or ``pi``.
    voltage_depend_loads
        Whether loads follow their voltage.
    """

    calculate_voltage_angles: bool = True
    consider_line_temperature: bool = False
    enforce_p_lims: bool = False
    enforce_q_lims: bool | None = None
    neglect_open_switch_branches: bool = False
    switch_rx_ratio: float = 2.0
    trafo3w_losses: str = "hv"
    trafo_model: str = "t"
    voltage_depend_loads: bool = True


_ALLOWED: Mapping[str, tuple[Any, ...]] = {
    "trafo3w_losses": ("hv", "mv", "lv", "star"),
    "trafo_model": ("t", "pi"),
    **dict.fromkeys(("calculate_voltage_angles", "consider_line_temperature"), (True, False)),
    **dict.fromkeys(("enforce_p_lims", "enforce_q_lims"), (True, False)),
    **dict.fromkeys(("neglect_open_switch_branches", "voltage_depend_loads"), (True, False)),
}


def read_options(pp_net: PandapowerNet) -> tuple[Options, list[str]]:
    """The options that a net carries, and those that a Network cannot represent, each as one clause."""
    chosen = dict(pp_net.get("user_pf_options") or {})
    faults = [fault for name, value in chosen.items() for fault in _fault(pp_net, name, value)]
    return Options()._replace(**{name: value for name, value in chosen.items() if name in Options._fields}), faults


def _fault(pp_net: PandapowerNet, name: str, value: object) -> list[str]:
    option = f"option {name} = {value!r} of user_pf_options"
    if name in ONLY_DEFAULT:
        return [] if value == ONLY_DEFAULT[name] else [f"{option} (only {ONLY_DEFAULT[name]!r} is represented)"]
    if name in _ALLOWED:
        allowed = _ALLOWED[name]
        return [] if value in allowed else [f"{option} (choose {' or '.join(map(repr, allowed))})"]
    if name == "algorithm" and value in _IGNORING_VOLTAGE and _any_by_voltage(pp_net):
        return [f'{option}, with which runpp ignores how loads follow their voltage (say "nr", or drop these shares)']
    if name not in SOLVER_OPTIONS and name not in Options._fields:
        known = (*Options._fields, *ONLY_DEFAULT, *SOLVER_OPTIONS)
        return [f"{option}, which is none of runpp's options ({nearest(name, known) or 'remove it'})"]
    return []


def _any_by_voltage(pp_net: PandapowerNet) -> bool:
    columns = [f"const_{letter}_{axis}_percent" for letter in "iz" for axis in "pq"]
    load = pp_net.load
    return bool((load[[name for name in columns if name in load]].fillna(0.0) != 0).any(axis=None))
