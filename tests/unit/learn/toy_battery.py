"""A functional environment in one screen: batteries that buy cheap and sell dear, behind the real interface."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

HOURS = 24


class ToyConfig:
    """Stands for a resolved configuration."""

    config = SimpleNamespace(name="toy")

    def to_yaml(self, folder: Path | None = None) -> str:
        return "toy: battery\n"


class ToyState(NamedTuple):
    soc: Any
    phase: Any
    tick: Any
    wish: Any


class ToyBattery:
    """`agents` batteries of 4 h under a sinusoidal price whose phase is drawn for each episode.

    The best policy sells around the crest and buys around the trough; the observation holds the price now and in three
    hours, the time, the state of charge and `extra` columns of zeros. An action is in force for `interval` hours.
    """

    episode_length = HOURS
    days = (0, 1, 2)
    world = SimpleNamespace(resolved=ToyConfig())

    def __init__(
        self, groups: dict[str, int] | None = None, extra: int = 0, terminates: bool = False, interval: int = 1
    ):
        counts = groups or {"battery": 2}
        self.groups = {group: tuple(f"{group}_{i}" for i in range(count)) for group, count in counts.items()}
        self.observation_size = dict.fromkeys(self.groups, 4 + extra)
        self.action_size = dict.fromkeys(self.groups, 1)
        self.agents = sum(counts.values())
        self.state_size = 3 + self.agents
        self.extra, self.terminates, self.interval = extra, terminates, interval

    def reset(self, key: Any) -> tuple[dict[str, Any], ToyState]:
        batch = key.shape[:-1]
        phase = (key[..., 0] ^ key[..., 1]).astype(jnp.float32) * (2.0 * jnp.pi / 2.0**32)
        soc = jnp.full((*batch, self.agents), 0.5)
        state = ToyState(soc, phase, jnp.zeros(batch, jnp.int32), jnp.zeros_like(soc))
        return self.observe(state), state

    def price(self, state: ToyState, ahead: float = 0.0) -> Any:
        return jnp.sin(2.0 * jnp.pi * (state.tick + ahead) / HOURS + state.phase)

    def observe(self, state: ToyState) -> dict[str, Any]:
        soc = state.soc
        common = [self.price(state), self.price(state, 3.0), state.tick / HOURS]
        columns = [jnp.broadcast_to(column[..., None], soc.shape) for column in common]
        columns += [soc] + [jnp.zeros_like(soc)] * self.extra
        rows = jnp.stack(columns, -1).astype(jnp.float32)
        out, first = {}, 0
        for group, members in self.groups.items():
            out[group] = rows[..., first : first + len(members), :]
            first += len(members)
        return out

    def central_state(self, state: ToyState) -> Any:
        common = jnp.stack([self.price(state), self.price(state, 3.0), state.tick / HOURS], -1)
        return jnp.concatenate([common, state.soc], -1).astype(jnp.float32)

    def step(self, key: Any, state: ToyState, actions: dict[str, Any]) -> tuple:
        wish = jnp.concatenate([actions[group][..., 0] for group in self.groups], -1) / 4.0
        due = (state.tick % self.interval == 0)[..., None]
        wish = jnp.where(due, wish, state.wish)
        sold = jnp.clip(wish, state.soc - 1.0, state.soc)
        money = -sold * self.price(state)[..., None]
        moved = ToyState(state.soc - sold, state.phase, state.tick + 1, wish)
        final_obs, final_state = self.observe(moved), self.central_state(moved)
        done = moved.tick >= HOURS
        _, fresh = self.reset(key)
        following = jax.tree.map(
            lambda new, old: jnp.where(done.reshape(done.shape + (1,) * (old.ndim - done.ndim)), new, old), fresh, moved
        )
        reward, first = {}, 0
        for group, members in self.groups.items():
            reward[group] = -money[..., first : first + len(members)]
            first += len(members)
        none = jnp.zeros_like(done)
        info = {
            "final_obs": final_obs,
            "final_state": final_state,
            "state": self.central_state(following),
            "terminated": done if self.terminates else none,
            "truncated": none if self.terminates else done,
            "due": {
                group: jnp.broadcast_to(due, (*due.shape[:-1], len(members))) for group, members in self.groups.items()
            },
            "money": money[..., None],
            "costs": jnp.maximum(jnp.abs(wish[..., None]) - 0.25, 0.0),
        }
        return self.observe(following), following, reward, {"__all__": done}, info
