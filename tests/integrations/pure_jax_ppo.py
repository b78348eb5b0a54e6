"""The smallest PPO of PureJaxRL's form: roll-outs and updates in one compiled function over a flat batch of actors."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

DISCOUNT, TRACE, CLIP = 0.99, 0.95, 0.2
UPDATES, TICKS = 100, 24


class ActorCritic(nn.Module):
    action_size: int

    @nn.compact
    def __call__(self, x: Any) -> Any:
        x = jnp.clip(x, -5.0, 5.0)
        actor = nn.tanh(nn.Dense(64)(nn.tanh(nn.Dense(64)(x))))
        critic = nn.tanh(nn.Dense(64)(nn.tanh(nn.Dense(64)(x))))
        mean = nn.Dense(self.action_size, kernel_init=nn.initializers.orthogonal(0.01))(actor)
        log_std = self.param("log_std", nn.initializers.constant(-0.5), (self.action_size,))
        return mean, log_std, nn.Dense(1)(critic)[..., 0]


class Transition(NamedTuple):
    done: Any
    action: Any
    value: Any
    reward: Any
    log_prob: Any
    seen: Any


class Outcomes(NamedTuple):
    """Mean return of an actor in an episode under three policies."""

    random: float
    untrained: float
    trained: float


def outcomes(reset: Callable, step: Callable, sizes: tuple[int, int], *, reward_scale: float) -> Outcomes:
    """Train, and play one episode per environment with a random policy, the first one and the last one.

    `reset(key)` gives observations ``(actors, d)`` and state, `step(key, state, actions)` observations, state, rewards
    and ends. Episodes have `TICKS` steps.
    """
    before, after = train(reset, step, sizes, reward_scale)

    def played(policy: Callable) -> float:
        def tick(carry: Any, key: Any) -> Any:
            seen, state = carry
            seen, state, reward, _ = step(key, state, policy(seen, key))
            return (seen, state), reward

        key = jax.random.PRNGKey(7)
        return float(jax.jit(lambda: jax.lax.scan(tick, reset(key), jax.random.split(key, TICKS))[1].sum(0).mean())())

    def at_random(seen: Any, key: Any) -> Any:
        return jax.random.uniform(key, (len(seen), sizes[1]), minval=-1.0, maxval=1.0)

    return Outcomes(played(at_random), played(before), played(after))


def train(reset: Callable, step: Callable, sizes: tuple[int, int], reward_scale: float) -> tuple[Callable, Callable]:
    """The policy before and after learning, without exploration."""
    network = ActorCritic(sizes[1])
    key = jax.random.PRNGKey(0)
    start = network.init(key, jnp.zeros(sizes[0]))
    optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(1e-3))

    def log_density(mean: Any, log_std: Any, action: Any) -> Any:
        return (-0.5 * ((action - mean) / jnp.exp(log_std)) ** 2 - log_std).sum(-1)

    def tick(carry: Any, _: None) -> Any:
        params, state, seen, key = carry
        key, key_act, key_step = jax.random.split(key, 3)
        mean, log_std, value = network.apply(params, seen)
        action = mean + jnp.exp(log_std) * jax.random.normal(key_act, mean.shape)
        after, state, reward, done = step(key_step, state, action)
        kept = Transition(done, action, value, reward * reward_scale, log_density(mean, log_std, action), seen)
        return (params, state, after, key), kept

    def loss(params: Any, batch: Transition, advantage: Any, target: Any) -> Any:
        mean, log_std, value = network.apply(params, batch.seen)
        ratio = jnp.exp(log_density(mean, log_std, batch.action) - batch.log_prob)
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        gain = jnp.minimum(ratio * advantage, jnp.clip(ratio, 1.0 - CLIP, 1.0 + CLIP) * advantage)
        return 0.5 * jnp.square(value - target).mean() - gain.mean()

    def update(carry: Any, _: None) -> Any:
        params, memory, state, seen, key = carry
        (_, state, seen, key), batch = jax.lax.scan(tick, (params, state, seen, key), None, TICKS)

        def backward(carry: Any, row: Transition) -> Any:
            advantage, following = carry
            alive = 1.0 - row.done
            advantage = row.reward + DISCOUNT * following * alive - row.value + DISCOUNT * TRACE * alive * advantage
            return (advantage, row.value), advantage

        last = network.apply(params, seen)[2]
        _, advantage = jax.lax.scan(backward, (jnp.zeros_like(last), last), batch, reverse=True)
        rows = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), (batch, advantage, advantage + batch.value))

        def minibatch(carry: Any, chosen: Any) -> Any:
            params, memory = carry
            slope = jax.grad(loss)(params, *jax.tree.map(lambda x: x[chosen], rows))
            move, memory = optimizer.update(slope, memory)
            return (optax.apply_updates(params, move), memory), None

        key, key_order = jax.random.split(key)
        orders = [jax.random.permutation(k, len(rows[1])).reshape(4, -1) for k in jax.random.split(key_order, 4)]
        (params, memory), _ = jax.lax.scan(minibatch, (params, memory), jnp.concatenate(orders))
        return (params, memory, state, seen, key), None

    @jax.jit
    def learn(params: Any) -> Any:
        seen, state = reset(key)
        carry, _ = jax.lax.scan(update, (params, optimizer.init(params), state, seen, key), None, UPDATES)
        return carry[0]

    def policy(params: Any) -> Callable:
        return lambda seen, _: network.apply(params, seen)[0]

    return policy(start), policy(learn(start))
