"""Names of pandapower 2 that v1 programs use.

It offered its whole toolbox in its top module, as did the first releases of 3; later ones keep it in
``pandapower.toolbox``, and a program that calls ``pp.get_element_index`` would stop there. And a transformer with a tap
side changed its ratio with the tap; since 3 it does so only if a type of tap changer is named.
"""

from __future__ import annotations

import inspect
from typing import Any


def restore_toolbox_names() -> None:
    """Add the toolbox's public functions to ``pandapower`` where their names are free."""
    import pandapower
    import pandapower.toolbox

    for name, item in vars(pandapower.toolbox).items():
        if inspect.isfunction(item) and not name.startswith("_") and not hasattr(pandapower, name):
            setattr(pandapower, name, item)


def name_tap_changers(net: Any) -> None:
    """Set a tap changer's type to ``"Ratio"`` where it has a side and a step but no type, as pandapower 2 did."""
    trafo = net.trafo
    if not len(trafo) or not {"tap_side", "tap_step_percent"} <= set(trafo.columns):
        return
    known = trafo.get("tap_changer_type", default=trafo["tap_side"].map(lambda _: None))
    unnamed = trafo["tap_side"].notna() & trafo["tap_step_percent"].notna() & known.isna()
    if unnamed.any():
        trafo["tap_changer_type"] = known.astype(object).where(~unnamed, "Ratio")
