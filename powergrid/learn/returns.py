"""Advantages for episodes that end by physics or by the clock."""

from __future__ import annotations

from powergrid.core.types import Array


def generalised_advantage(
    reward: Array,
    value: Array,
    next_value: Array,
    terminated: Array,
    done: Array,
    *,
    discount: float,
    trace_decay: float,
) -> Array:
    """Generalised advantage estimation over a fragment of many episodes.

    ``delta_t = r_t + gamma (1 - terminated_t) V(s'_t) - V(s_t)`` and
    ``A_t = delta_t + gamma lambda (1 - done_t) A_{t+1}``, where ``s'_t`` is the state that tick ``t`` really led to: a
    time limit is bootstrapped from the last state of the ended episode, neither from the first of the next one nor
    from zero. Schulman, Moritz, Levine, Jordan and Abbeel, "High-dimensional continuous control using generalized
    advantage estimation", ICLR 2016, arXiv:1506.02438; Pardo, Tavakoli, Levdik and Kormushev, "Time limits in
    reinforcement learning", ICML 2018, arXiv:1712.00378.

    Parameters
    ----------
    reward, value, next_value, terminated, done
        Ticks first, ``(ticks, *batch)``; `next_value` belongs to the state after the tick and before any reset; the
        last two are booleans.
    discount, trace_decay
        gamma and lambda [1].

    Returns
    -------
    Array
        Advantages, ``(ticks, *batch)``.
    """
    import jax
    import jax.numpy as jnp

    delta = reward + discount * jnp.where(terminated, 0.0, next_value) - value
    carry_on = discount * trace_decay * jnp.where(done, 0.0, 1.0)

    def back(advantage: Array, row: tuple[Array, Array]) -> tuple[Array, Array]:
        advantage = row[0] + row[1] * advantage
        return advantage, advantage

    return jax.lax.scan(back, jnp.zeros_like(delta[0]), (delta, carry_on), reverse=True)[1]
