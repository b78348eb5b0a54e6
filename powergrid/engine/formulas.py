"""What every form of the step computes alike: formulas in the vocabulary of device kernels.

NumPy and JAX call them with arrays, compiled code with the numbers of one environment or of several side by side, as
it does the kernels of devices. What rooms below the engine read as well stands there:
:func:`powergrid.networks.regulation.relay_voltage`, :func:`powergrid.networks.regulation.steps_taken` and
:func:`powergrid.powerflow.sequence.sequence_ratio`.
"""

from __future__ import annotations

from powergrid.core.backend import Namespace
from powergrid.core.types import Array


def due(tick: Array, interval: Array, offset: Array) -> Array:
    """Whether a decision with that interval and first tick is taken at a tick."""
    since = tick - offset
    return (since >= 0) & (since % interval == 0)


def physical(slot: Array, low: Array, half_span: Array) -> Array:
    """A slot in [-1, 1] in physical units."""
    return low + (slot + 1.0) * half_span


def magnitude(xp: Namespace, re: Array, im: Array) -> Array:
    """Magnitude of a voltage [pu]."""
    return xp.sqrt(re * re + im * im)


def voltage_price(xp: Namespace, v_pu: Array, v_min_pu: float, v_max_pu: float, price: float) -> Array:
    """Price of a voltage outside the band [$]; `price` is that of 1 pu over the tick."""
    return (xp.maximum(v_pu - v_max_pu, 0.0) + xp.maximum(v_min_pu - v_pu, 0.0)) * price


def overload_price(xp: Namespace, loading_percent: Array, price: float) -> Array:
    """Price of a loading beyond 100 % [$]; `price` is that of 1 % over the tick."""
    return xp.maximum(loading_percent - 100.0, 0.0) * price


def unserved_price(xp: Namespace, load_mw: Array, price: float) -> Array:
    """Price of load that is not served [$]; `price` is that of 1 MW over the tick."""
    return xp.maximum(load_mw, 0.0) * price


def unbalance_price(xp: Namespace, ratio: Array, max_percent: float, price: float) -> Array:
    """Price of a voltage unbalance beyond its limit [$], `ratio` as negative over positive sequence voltage [1]."""
    return xp.maximum(100.0 * ratio - max_percent, 0.0) * price


def reward(
    xp: Namespace, money: Array, cost: Array, reward_scale: float, safety_scale: float, max_penalty: float
) -> Array:
    """``-reward_scale * money - min(safety_scale * cost, max_penalty)``."""
    return -reward_scale * money - xp.minimum(safety_scale * cost, max_penalty)
