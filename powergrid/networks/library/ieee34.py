"""IEEE 34 node test feeder."""

from __future__ import annotations

from powergrid.networks.feeders import Phases, Taps, build_feeder
from powergrid.networks.network import Network
from powergrid.networks.three_phase_feeders import build_three_phase_feeder
from powergrid.networks.unbalanced import UnbalancedNetwork
from powergrid.plugins.registries import register_network


@register_network("ieee34")
def ieee34(
    *,
    source_v_pu: float | None = None,
    load_scale: float = 1.0,
    taps: Taps = "published",
    phases: Phases = "balanced",
) -> Network | UnbalancedNetwork:
    """IEEE 34 node test feeder, 24.9 kV: long and lightly loaded, 1.769 MW and 1.044 Mvar.

    Regulators 814-RG10 and 852-RG11, a 500 kVA transformer to 4.16 kV at 888, capacitors at 844 and 848.

    Parameters
    ----------
    source_v_pu
        Source voltage [pu]; by default the published 1.05 pu.
    load_scale
        Factor on every load [1].
    taps
        ``"published"`` taps belong to the published load; ``"neutral"`` sets them to zero.
    phases
        ``"three"`` builds every phase with the published load models, ``"balanced"`` the equivalent.

    Returns
    -------
    Network or UnbalancedNetwork
        The balanced positive-sequence equivalent, see :mod:`powergrid.networks.feeders`; for ``phases="three"`` every
        phase, see :mod:`powergrid.networks.three_phase_feeders`.

    Notes
    -----
    Source: IEEE PES Distribution System Analysis Subcommittee, test feeder document of 24 June 2004;
    ratings from the conductor tables in W. H. Kersting, "Distribution System Modeling and Analysis", CRC Press.
    """
    if phases == "three":
        return build_three_phase_feeder("ieee34", source_v_pu=source_v_pu, load_scale=load_scale, taps=taps)
    return build_feeder("ieee34", source_v_pu=source_v_pu, load_scale=load_scale, taps=taps)
