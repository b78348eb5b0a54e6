"""IEEE 123 node test feeder."""

from __future__ import annotations

from powergrid.networks.feeders import Phases, Taps, build_feeder
from powergrid.networks.network import Network
from powergrid.networks.three_phase_feeders import build_three_phase_feeder
from powergrid.networks.unbalanced import UnbalancedNetwork
from powergrid.plugins.registries import register_network


@register_network("ieee123")
def ieee123(
    *,
    source_v_pu: float | None = None,
    load_scale: float = 1.0,
    taps: Taps = "published",
    phases: Phases = "balanced",
) -> Network | UnbalancedNetwork:
    """IEEE 123 node test feeder, 4.16 kV: 3.490 MW and 1.920 Mvar, four regulators, switches between sections.

    Two tie switches are open (54-94 and 151-300); ties to neighbouring feeders (buses 251, 350, 451) and the unloaded
    transformer 61-610 are left out.

    Parameters
    ----------
    source_v_pu
        Source voltage [pu]; by default the published 1.0 pu.
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
        return build_three_phase_feeder("ieee123", source_v_pu=source_v_pu, load_scale=load_scale, taps=taps)
    return build_feeder("ieee123", source_v_pu=source_v_pu, load_scale=load_scale, taps=taps)
