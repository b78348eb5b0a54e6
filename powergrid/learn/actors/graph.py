"""A policy for any feeder: one encoder and one head a role, and messages between neighbouring buses.

In each tick an agent's features ``f`` become ``e = tanh(E_role f)``. A bus begins with the mean ``h`` of its agents'
``e``, and in each of some rounds takes over the mean of what its neighbours say:

``h_b <- tanh(S h_b + mean_{c near b} g(z_bc) * (N h_c) + bias)``

with a gate ``g`` in (0, 1) for each unit that depends on the impedance ``z_bc`` of the path. An agent acts on its own
``e`` and on its bus's ``h``: ``mean = H_role (e, h)``. Mean aggregation is that of Hamilton, Ying and Leskovec,
"Inductive representation learning on large graphs", NeurIPS 2017, arXiv:1706.02216; weights that depend on the edge are
those of Simonovsky and Komodakis, "Dynamic edge-conditioned filters in convolutional neural networks on graphs", CVPR
2017, arXiv:1704.02901.

No weight belongs to an agent, a bus or a number of them, so that the policy acts on any feeder whose agents have roles
that were trained. It needs communication: within a tick, what an agent observes reaches agents up to as many buses
with agents away as there are rounds. Without rounds, agents at one bus still share what they observe.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from powergrid.core.backend import Namespace
from powergrid.core.errors import ConfigError, Issue
from powergrid.core.types import Array
from powergrid.learn.actors.feeder import Feeder, Gather, Role, feeder_of, grouped
from powergrid.learn.actors.network import Groups, statistics_of, tree_of
from powergrid.learn.learner import FunctionalEnv
from powergrid.learn.networks import Running, dense_stack, merge, normalise, running, stack


class Graph:
    """Encoders, rounds of messages and heads.

    Weights are ``{"roles": {role: {"encoder": stack, "head": stack, "log_std"}}, "rounds": {"round_0": {"own", "near",
    "gate", "gate_bias", "bias"}}}``, statistics :class:`Running` by role.

    Parameters
    ----------
    feeder
        What is known of the feeder.
    groups
        Agents by group.
    rounds
        Rounds of messages in a tick.
    """

    kind = "graph"
    hears = True
    remembers = False
    first_gain = 0.01

    def __init__(self, feeder: Feeder, groups: Groups, rounds: int):
        self.feeder, self.groups, self.rounds = feeder, groups, rounds
        self.roles = tuple(role.name for role in feeder.roles)
        self.role_of = {group: self.roles[int(gather.role)] for group, gather in feeder.gathers.items()}
        features = {role.name: len(role.features) for role in feeder.roles}
        self.observation_size: Mapping[str, int] = feeder.sizes
        self.input_size: Mapping[str, int] = {group: features[role] for group, role in self.role_of.items()}
        actions = {role.name: len(role.actions) for role in feeder.roles}
        self.action_size: Mapping[str, int] = {group: actions[role] for group, role in self.role_of.items()}
        nodes = np.concatenate([feeder.gathers[group].node for group in groups])
        count = len(feeder.buses)
        at = np.eye(count, dtype=np.float32)[nodes]
        self._spread = {group: at[rows] for group, rows in _rows(groups).items()}  # from nodes to agents
        self._gathered = (at / np.maximum(at.sum(0), 1.0)).T  # the mean of a node's agents
        sender, receiver = feeder.links.T
        heard = np.eye(count, dtype=np.float32)[receiver]
        self._senders = np.eye(count, dtype=np.float32)[sender]
        self._heard = (heard / np.maximum(heard.sum(0), 1.0)).T  # the mean of a node's neighbours

    def init(self, rng: np.random.Generator, hidden: tuple[int, ...], log_std: float | None) -> Any:
        """First weights of all roles and rounds."""
        width, *behind = hidden
        roles: dict[str, Any] = {}
        for role in self.feeder.roles:
            size = len(role.actions)
            roles[role.name] = {
                "encoder": stack(rng, (len(role.features), width), last_gain=np.sqrt(2.0)),
                "head": stack(rng, (2 * width, *behind, size), last_gain=self.first_gain),
            }
            if log_std is not None:
                roles[role.name]["log_std"] = np.full((size,), log_std, np.float32)
        rounds: dict[str, Any] = {}
        for number in range(self.rounds):
            parts = {name: stack(rng, (rows, width), last_gain=1.0)["dense_0"]["kernel"] for name, rows in
                     (("own", width), ("near", width), ("gate", self.feeder.edges.shape[-1]))}  # fmt: skip
            zeros = {name: np.zeros(width, np.float32) for name in ("bias", "gate_bias")}
            rounds[f"round_{number}"] = {**parts, **zeros}
        return {"roles": roles, "rounds": rounds}

    def statistics(self, counted: bool) -> Any:
        """Statistics of each role."""
        from powergrid.learn.groups import ByGroup

        sizes = {role.name: len(role.features) for role in self.feeder.roles}
        return ByGroup.make(self.roles, lambda role: running((sizes[role],)))

    def merged(self, xp: Namespace, norms: Any, obs: Mapping[str, Array], there: Mapping[str, Array | None]) -> Any:
        """Statistics with one roll-out, of all groups of a role together."""
        parts = {}
        for role in self.roles:
            mine = [group for group in self.groups if self.role_of[group] == role]
            samples = xp.concatenate([self._features(xp, group, obs[group]) for group in mine], -2)
            present = [there[group] for group in mine]
            where = None if present[0] is None else xp.concatenate(present, -2)
            parts[role] = merge(xp, norms[role], samples, where=where)
        return type(norms).of(self.roles, parts)

    def inputs(self, xp: Namespace, norms: Any, obs: Mapping[str, Array]) -> dict[str, Array]:
        """Normalised features."""
        return {
            group: normalise(xp, norms[self.role_of[group]], self._features(xp, group, rows))
            for group, rows in obs.items()
        }

    def means(self, xp: Namespace, actor: Any, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Mean actions; the inputs of all groups are needed.

        Agents and buses come first, ``(n, samples, width)``, so that each mean over agents or neighbours is one product
        of two matrices.
        """
        own = {}
        for group in self.groups:
            encoder = actor["roles"][self.role_of[group]]["encoder"]
            seen = xp.tanh(dense_stack(xp, encoder, inputs[group]))
            own[group] = xp.moveaxis(seen.reshape(-1, *seen.shape[-2:]), 0, 1)
        state = _mixed(self._gathered, xp.concatenate(list(own.values()), 0))
        for number in range(self.rounds):
            state = self._round(xp, actor["rounds"][f"round_{number}"], state)
        found = {}
        for group, mine in own.items():
            head = actor["roles"][self.role_of[group]]["head"]
            chosen = dense_stack(xp, head, xp.concatenate([mine, _mixed(self._spread[group], state)], -1))
            batch = inputs[group].shape[:-2]
            found[group] = xp.moveaxis(chosen, 0, 1).reshape(*batch, *chosen.shape[::2])
        return found

    def exploring(self, xp: Namespace, actor: Any, squares: Mapping[str, Array], least: float) -> Any:
        """Weights with other spreads of exploration, one a role."""
        roles = {}
        for role, own in actor["roles"].items():
            mine = [squares[group] for group in self.groups if self.role_of[group] == role]
            roles[role] = dict(own)
            if "log_std" in own and mine:
                mean = xp.concatenate(mine, 0).mean(0)
                roles[role]["log_std"] = 0.5 * xp.log(xp.maximum(mean, least**2)).astype(own["log_std"].dtype)
        return {**actor, "roles": roles}

    def begun(self, batch: tuple[int, ...]) -> dict[str, np.ndarray]:
        """No memories."""
        return {}

    def acted(
        self, xp: Namespace, actor: Any, inputs: Mapping[str, Array], memory: Mapping[str, Array]
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Mean actions; there is no memory."""
        return self.means(xp, actor, inputs), dict(memory)

    def spreads(self, actor: Any) -> dict[str, Array]:
        """Spreads of exploration; none for weights without."""
        weights = {group: actor["roles"][role] for group, role in self.role_of.items()}
        return {group: role["log_std"] for group, role in weights.items() if "log_std" in role}

    def arrays(self) -> dict[str, np.ndarray]:
        """Roles and the feeder, under the names that :func:`restored` reads."""
        feeder = self.feeder
        found = {"kind": np.array(self.kind), "rounds": np.array(self.rounds), "buses": np.array(feeder.buses)}
        found |= {"links": feeder.links, "edges": feeder.edges}
        for role in feeder.roles:
            found[f"roles/{role.name}/features"] = np.array(role.features)
            found[f"roles/{role.name}/actions"] = np.array(role.actions)
        for group, gather in feeder.gathers.items():
            found |= {f"feeder/{group}/{name}": part for name, part in gather._asdict().items()}
            found[f"feeder/{group}/size"] = np.array(feeder.sizes[group])
        return found

    def on(self, world: Any, agents: Sequence[str]) -> Graph:
        """The same network on the feeder of another world, for agents that have trained roles there."""
        groups = grouped(world, agents)
        return Graph(feeder_of(world, groups, self.feeder.roles), groups, self.rounds)

    def _features(self, xp: Namespace, group: str, obs: Array) -> Array:
        """Features ``(*batch, n, F)`` of observations ``(*batch, n, d)``."""
        gather = self.feeder.gathers[group]
        plain = _taken(obs, gather.pick) / gather.divisor
        if not gather.volts.shape[-1]:
            return plain
        volts = _taken(obs, gather.volts)
        three = [(volts * gather.share).sum(-1), volts.min(-1), volts.max(-1)]
        return xp.concatenate([plain, *(part[..., None] for part in three)], -1)

    def _round(self, xp: Namespace, weights: Any, state: Array) -> Array:
        """States ``(N, samples, width)`` of the buses after one more round."""
        gate = 1.0 / (1.0 + xp.exp(-(self.feeder.edges @ weights["gate"] + weights["gate_bias"])))
        said = _mixed(self._senders, _times(state, weights["near"])) * gate[:, None]
        return xp.tanh(_times(state, weights["own"]) + _mixed(self._heard, said) + weights["bias"])


def graph_of(env: FunctionalEnv, settings: Any) -> Graph:
    """The graph policy of an environment.

    Raises
    ------
    ConfigError
        If the environment has no feeder, or a setting does not fit.
    """
    issues = []
    world: Any = getattr(env, "world", None)
    if getattr(world, "network", None) is None or getattr(world, "layout", None) is None:
        message = "network graph needs the feeder of a configuration, which this environment does not have"
        issues.append(Issue("network", message, "train with network=dense"))
    if not settings.share_actors:
        message = "network graph has one actor for each role, on any feeder; agents have none of their own"
        issues.append(Issue("share_actors", message, "leave share_actors and protocols of kind learning out"))
    if issues:
        raise ConfigError(issues)
    return Graph(feeder_of(world, env.groups), env.groups, settings.rounds)


def restored(arrays: Mapping[str, np.ndarray], groups: Groups) -> tuple[Graph, dict[str, Any], dict[str, Running]]:
    """Network, weights and statistics of a checkpoint; faults as :func:`powergrid.learn.actors.network.restored`."""
    names = dict.fromkeys(key.split("/")[2] for key in arrays if key.startswith("network/roles/"))
    roles = tuple(
        Role(name, *(tuple(map(str, arrays[f"network/roles/{name}/{part}"])) for part in ("features", "actions")))
        for name in names
    )
    gathers = {
        group: Gather(*(arrays[f"network/feeder/{group}/{name}"] for name in Gather._fields)) for group in groups
    }
    sizes = {group: int(arrays[f"network/feeder/{group}/size"]) for group in groups}
    buses = tuple(map(str, arrays["network/buses"]))
    feeder = Feeder(roles, gathers, buses, arrays["network/links"], arrays["network/edges"], sizes)
    _check(feeder, groups)
    network = Graph(feeder, groups, int(arrays["network/rounds"]))
    norms = {name: statistics_of(arrays, name, 1) for name in names}
    actor = {"roles": {}, "rounds": {}, **tree_of(arrays, "actor/")}
    _check_weights(network, actor, norms)
    return network, actor, norms


def _rows(groups: Groups) -> dict[str, slice]:
    """Rows of each group among all agents."""
    ends = np.cumsum([0, *(len(members) for members in groups.values())]).tolist()
    return dict(zip(groups, itertools.starmap(slice, itertools.pairwise(ends)), strict=True))


def _taken(obs: Array, places: np.ndarray) -> Array:
    """Entries ``(*batch, n, P)`` of ``(*batch, n, d)`` at the places ``(n, P)``."""
    if (places == places[0]).all():
        return obs[..., places[0]]
    return obs[..., np.arange(len(places))[:, None], places]


def _mixed(matrix: np.ndarray, rows: Array) -> Array:
    """Sums ``(m, samples, width)`` of rows ``(n, samples, width)`` with the weights ``(m, n)``."""
    return (matrix @ rows.reshape(rows.shape[0], -1)).reshape(-1, *rows.shape[1:])


def _times(rows: Array, kernel: Array) -> Array:
    """Rows ``(*batch, n, d)`` times a kernel, as one tall matrix."""
    return (rows.reshape(-1, rows.shape[-1]) @ kernel).reshape(*rows.shape[:-1], kernel.shape[-1])


def _check(feeder: Feeder, groups: Groups) -> None:
    """Whether indices point into what they index.

    Raises
    ------
    ValueError
        If not.
    """
    nodes, roles = len(feeder.buses), len(feeder.roles)
    links, edges = feeder.links, feeder.edges
    if links.ndim != 2 or links.shape[-1:] != (2,) or edges.shape != links.shape or not _within(links, nodes):
        raise ValueError(
            f"network/links has shape {list(links.shape)} for {nodes} buses, its edges {list(edges.shape)}"
        )
    for group, members in groups.items():
        gather, size, agents = feeder.gathers[group], feeder.sizes[group], len(members)
        plain, volts = gather.pick.shape, gather.volts.shape
        fits = gather.role.shape == () and _within(gather.role, roles) and gather.node.shape == (agents,)
        fits = fits and len(plain) == len(volts) == 2 and plain[0] == volts[0] == agents
        fits = fits and gather.divisor.shape == plain and gather.share.shape == volts
        fits = fits and _within(gather.pick, size) and _within(gather.volts, size) and _within(gather.node, nodes)
        if not fits or plain[1] + 3 * bool(volts[1]) != len(feeder.roles[int(gather.role)].features):
            raise ValueError(f"network/feeder/{group} fits no group of {agents} agents that observe {size} numbers")


def _within(indices: np.ndarray, count: int) -> bool:
    return indices.dtype.kind == "i" and bool(((indices >= 0) & (indices < count)).all())


def _check_weights(network: Graph, actor: Mapping[str, Any], norms: Mapping[str, Running]) -> None:
    """Whether weights have the shapes of the network.

    Raises
    ------
    KeyError
        If some are missing.
    ValueError
        If a shape differs.
    """
    first = next(iter(actor["roles"].values()), None)
    if first is None:
        raise KeyError("actor/roles")
    width = first["encoder"]["dense_0"]["bias"].shape
    heads = [head["bias"].shape for head in _in_order(first["head"])]
    for role in network.feeder.roles:
        own, name = actor["roles"][role.name], f"actor/roles/{role.name}"
        _require(norms[role.name].mean, (len(role.features),), f"obs_norm/{role.name}/mean")
        layers = [own["encoder"]["dense_0"], *_in_order(own["head"])]
        outs = [width, *heads[:-1], (len(role.actions),)]
        ins = [(len(role.features),), (2 * width[0],), *heads[:-1]]
        for layer, rows, columns in zip(layers, ins, outs, strict=True):
            _require(layer["kernel"], (*rows, *columns), name)
            _require(layer["bias"], columns, name)
    edge = (network.feeder.edges.shape[-1],)
    for number in range(network.rounds):
        own = actor["rounds"][f"round_{number}"]
        shapes = {"own": width * 2, "near": width * 2, "gate": edge + width, "gate_bias": width, "bias": width}
        for name, shape in shapes.items():
            _require(own[name], shape, f"actor/rounds/round_{number}/{name}")


def _in_order(layers: Mapping[str, Any]) -> Sequence[Any]:
    return [layers[f"dense_{number}"] for number in range(len(layers))]


def _require(array: np.ndarray, shape: tuple[int, ...], name: str) -> None:
    if array.shape != shape or array.dtype.kind != "f":
        raise ValueError(f"{name} has {array.dtype}{list(array.shape)}, expected float{list(shape)}")
