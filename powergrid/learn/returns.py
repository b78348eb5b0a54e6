"""Advantages for episodes that end by physics or by the clock."""

from __future__ import annotations

from powergrid.core.types import Array


def generalised_advantage(
    reward: Array,
    value: Array,
    next_value: Array,
    terminated: Array,
    done: Array,
    due: Array,
    *,
    discount: float,
    trace_decay: float,
) -> Array:
    """Generalised advantage estimation over a fragment of many episodes.

    ``delta_t = r_t + gamma (1 - terminated_t) V(s'_t) - V(s_t)`` and
    ``A_t = delta_t + gamma lambda (1 - done_t) A_{t+1}``, where ``s'_t`` is the state that tick ``t`` really led to: a
    time limit is bootstrapped from the last state of the ended episode, neither from the first of the next one nor
    from zero. lambda applies at decisions alone: where the next tick is not due it is 1, so that the values between two
    decisions cancel. With d ticks from decision i to the next, what remains at a decision is the estimate of a
    semi-Markov decision process, ``A_i = sum_{k<d} gamma^k r_{t+k} + gamma^d V(s_{t+d}) - V(s_t) + gamma^d lambda
    A_{i+1}``. Schulman, Moritz, Levine, Jordan and Abbeel, "High-dimensional continuous control using generalized
    advantage estimation", ICLR 2016, arXiv:1506.02438; Pardo, Tavakoli, Levdik and Kormushev, "Time limits in
    reinforcement learning", ICML 2018, arXiv:1712.00378; Sutton, Precup and Singh, "Between MDPs and semi-MDPs",
    Artificial Intelligence 112, 1999.

    Parameters
    ----------
    reward, value, next_value, terminated, done, due
        Ticks first, ``(ticks, *batch)``; `next_value` belongs to the state after the tick and before any reset; the
        last three are booleans, and `due` says whether the agent decided in the tick.
    discount, trace_decay
        gamma and lambda [1].

    Returns
    -------
    Array
        Advantages, ``(ticks, *batch)``; between decisions those of the action in force.
    """
    import jax
    import jax.numpy as jnp

    delta = reward + discount * jnp.where(terminated, 0.0, next_value) - value
    next_due = jnp.concatenate([due[1:], jnp.ones_like(due[:1])])
    carry_on = jnp.where(next_due, discount * trace_decay, discount) * jnp.where(done, 0.0, 1.0)

    def back(advantage: Array, row: tuple[Array, Array]) -> tuple[Array, Array]:
        advantage = row[0] + row[1] * advantage
        return advantage, advantage

    return jax.lax.scan(back, jnp.zeros_like(delta[0]), (delta, carry_on), reverse=True)[1]
