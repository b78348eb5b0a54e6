"""pandapower functions that v1 programs call as ``pp.get_element_index`` and the like.

pandapower 2 offered its whole toolbox in its top module, and so did the first releases of 3; later ones keep it in
``pandapower.toolbox``. A v1 program written against the former would stop at its first line.
"""

from __future__ import annotations

import inspect


def restore_toolbox_names() -> None:
    """Offer the toolbox's public functions in ``pandapower`` where nothing has their name."""
    import pandapower
    import pandapower.toolbox

    for name, item in vars(pandapower.toolbox).items():
        if inspect.isfunction(item) and not name.startswith("_") and not hasattr(pandapower, name):
            setattr(pandapower, name, item)
