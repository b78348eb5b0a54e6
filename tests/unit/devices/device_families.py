"""What the tests of device families share."""

from typing import Any

import numpy as np

from powergrid.agents.device_agent import Outlook
from powergrid.plugins.registries import DEVICES


def build(name: str, **params: Any) -> tuple[Any, Any]:
    """A unit of a registered family, and its row of parameters."""
    unit = DEVICES.get(name)("unit", "bus", **params)
    return unit, unit.params()


def outlook(
    retail: float = 100.0, feed_in: float = 50.0, net_load_mw: float = 0.0, ahead: np.ndarray | None = None
) -> Outlook:
    """Prices and neighbourhood of one unit, as columns of length one."""
    price = np.array([(retail + feed_in) / 2.0])
    prices = np.full((24, 1), price) if ahead is None else np.reshape(ahead, (24, 1))
    return Outlook(
        price_per_mwh=price,
        retail_per_mwh=np.array([retail]),
        feed_in_per_mwh=np.array([feed_in]),
        price_ahead_per_mwh=prices,
        mean_price_per_mwh=prices.mean(0),
        net_load_mw=np.array([net_load_mw]),
        hour=np.array([0.0]),
    )
