"""Evaluation: policies on the same fixed days with the same random numbers, without exploration."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from powergrid.config.resolve import with_overrides
from powergrid.core import random
from powergrid.core.errors import ArgumentError, NetworkError, RunError
from powergrid.core.files import make_folder, whole_folder, write_json, write_whole
from powergrid.core.statistics import mean_interval
from powergrid.core.terminal import console
from powergrid.learn.checkpoint import FILE_NAME
from powergrid.learn.deciders import (
    LEARNED,
    Decider,
    Policies,
    Policy,
    SafeDecider,
    decider,
    named_policies,
    residual_of,
)
from powergrid.report.files import BOUND, EVALUATION
from powergrid.worlds.days import chosen_days
from powergrid.worlds.residual import corrected
from powergrid.worlds.seeds import checked_seed, episode_seed
from powergrid.worlds.simulation import Simulation


@dataclass(frozen=True)
class Outcome:
    """What one policy did, one row a day; a day that physics ended counts up to there.

    Attributes
    ----------
    policy
        Its name.
    money
        Cost of all learning agents by name [$/day], ``(days, names)``.
    costs
        Priced constraint violations by name [$/day], ``(days, names)``.
    violated_ticks
        Ticks with any violation, ``(days,)``.
    ended_early
        Whether physics ended the episode, ``(days,)``.
    trajectory_hash
        SHA-256 over configuration, days, seed, actions and float32 results.
    arrays
        float32 arrays with days first: ``actions`` (ticks, A, k), ``obs`` (ticks + 1, N), ``money`` and ``costs``
        (ticks, A, names), ``reward`` (ticks, A).
    other_accounts
        What accounts that no agent owns pay by name, and what their violations cost [$/day], ``(days, names)`` each.
        With `money` and `costs` they are all that an episode costs.
    utility_receives
        What all accounts pay the utility for energy, less what it pays them [$/day], ``(days,)``.
    safety
        Of a policy behind a safety layer: its settings, ``ticks_changed_per_day``, ``ticks_outside_per_day``, where a
        limit is violated all the same, and the commands that are ``held`` as chosen; ``None`` of others.
    residual
        Local policy that its actions correct; ``None`` where they are commands.
    carbon_kg
        Marginal emissions by account [kg/day], ``(days,)`` each, where the configuration has a section ``carbon``.
    """

    policy: str
    money: np.ndarray
    costs: np.ndarray
    violated_ticks: np.ndarray
    ended_early: np.ndarray
    trajectory_hash: str
    arrays: Mapping[str, np.ndarray] = field(repr=False)
    other_accounts: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    utility_receives: np.ndarray = field(default_factory=lambda: np.zeros(1))
    safety: Mapping[str, Any] | None = None
    residual: str | None = None
    carbon_kg: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def objective(self) -> np.ndarray:
        """J, money and priced violations together [$/day], ``(days,)``; less is better."""
        return self.money.sum(-1) + self.costs.sum(-1)


@dataclass(frozen=True)
class Evaluation:
    """Policies side by side.

    Attributes
    ----------
    name
        The configuration's name.
    days, seed
        What was played.
    money_names, cost_names
        Columns of the outcomes.
    outcomes
        One a policy, in the order asked for.
    bound
        Lower bound on J [$/day], ``(days,)``, if it was asked for and can be computed.
    """

    name: str
    days: tuple[int, ...]
    seed: int
    money_names: tuple[str, ...]
    cost_names: tuple[str, ...]
    outcomes: tuple[Outcome, ...]
    bound: np.ndarray | None = None

    def __getitem__(self, policy: str) -> Outcome:
        return next(outcome for outcome in self.outcomes if outcome.policy == policy)

    def saving(self, policy: str, against: str) -> tuple[float, float, float]:
        """Mean of what `policy` saves against another, day by day, and its 95 % interval [$/day]."""
        return mean_interval(self[against].objective - self[policy].objective)

    def table(self) -> Any:
        """A table to print with rich: one row a policy."""
        from rich.table import Table

        title = f"{self.name}: {len(self.days)} days, seed {self.seed}; $/day"
        table = Table(title=title, padding=(0, 1, 0, 0))  # numbers of eight digits stay whole on 80 columns
        table.add_column("policy", no_wrap=True)
        for header in ("money", "of it settled", "violations", "ticks violated", "J", "95 % interval"):
            table.add_column(header, justify="right", overflow="fold", min_width=8)  # a narrow terminal cuts no digits
        for outcome in self.outcomes:
            mean, low, high = mean_interval(outcome.objective)
            table.add_row(
                outcome.policy,
                *self._paid(outcome.money, outcome.costs),
                f"{outcome.violated_ticks.mean():,.2f}",
                f"{mean:,.2f}",
                f"{low:,.2f}\n{high:,.2f}",
            )
            for account, (money, costs) in outcome.other_accounts.items():
                table.add_row(f"  {account}, no agent's", *self._paid(money, costs), "", "", "")
        layers = [(outcome.policy, outcome.safety) for outcome in self.outcomes if outcome.safety is not None]
        if layers:
            table.caption = "\n".join(
                f"{policy}: the safety layer changed {safety['ticks_changed_per_day']:,.2f} ticks/day; limits are left "
                f"in {safety['ticks_outside_per_day']:,.2f}"
                for policy, safety in layers
            )
        if self.bound is not None:
            mean, low, high = mean_interval(self.bound)
            table.add_row("lower bound", "", "", "", "", f"{mean:,.2f}", f"{low:,.2f}\n{high:,.2f}")
        return table

    def _paid(self, money: np.ndarray, costs: np.ndarray) -> tuple[str, str, str]:
        settled = [i for i, name in enumerate(self.money_names) if name == "settlement"]
        return tuple(f"{part.sum(-1).mean():,.2f}" for part in (money, money[:, settled], costs))  # type: ignore[return-value]

    def to_dict(self) -> dict[str, Any]:
        """Plain content of ``evaluation.json``."""
        policies = {outcome.policy: self._summary(outcome) for outcome in self.outcomes}
        if self.bound is not None:
            by_day = {"money": self.bound.tolist(), "violations": [0.0] * len(self.bound)}
            mean, low, high = mean_interval(self.bound)
            whole = {"mean": mean, "low_95": low, "high_95": high}
            policies[BOUND] = {"objective_per_day": whole, "by_day": by_day}
        return {
            "name": self.name,
            "days": list(self.days),
            "seed": self.seed,
            "backend": "numpy",
            "machine": f"{platform.machine()} {platform.processor()}".strip(),
            "policies": policies,
        }

    def _summary(self, outcome: Outcome) -> dict[str, Any]:
        mean, low, high = mean_interval(outcome.objective)
        first = self.outcomes[0].policy
        summary = {
            "objective_per_day": {"mean": mean, "low_95": low, "high_95": high},
            "money_per_day": dict(zip(self.money_names, outcome.money.mean(0).tolist(), strict=True)),
            "violations_per_day": dict(zip(self.cost_names, outcome.costs.mean(0).tolist(), strict=True)),
            "violated_ticks_per_day": float(outcome.violated_ticks.mean()),
            "days_ended_early": int(outcome.ended_early.sum()),
            "by_day": {
                "money": outcome.money.sum(-1).tolist(),
                "violations": outcome.costs.sum(-1).tolist(),
                "violated_ticks": outcome.violated_ticks.tolist(),
            },
            "trajectory_hash": outcome.trajectory_hash,
            **({"residual": outcome.residual} if outcome.residual else {}),
            "accounts_of_no_agent": {
                account: {
                    "money_per_day": dict(zip(self.money_names, money.mean(0).tolist(), strict=True)),
                    "violations_per_day": dict(zip(self.cost_names, costs.mean(0).tolist(), strict=True)),
                }
                for account, (money, costs) in outcome.other_accounts.items()
            },
            "utility_receives_per_day": float(outcome.utility_receives.mean()),
        }
        if outcome.carbon_kg:
            summary["carbon_kg_per_day"] = {account: float(kg.mean()) for account, kg in outcome.carbon_kg.items()}
        if outcome.safety is not None:
            summary["safety_layer"] = dict(outcome.safety)
        if outcome.policy != first:
            mean, low, high = self.saving(first, outcome.policy)
            summary[f"saving_of_{first}_per_day"] = {"mean": mean, "low_95": low, "high_95": high}
        return summary


def evaluate(
    source: Any,
    *,
    policy: Policies = (LEARNED, "rule_based"),
    days: str | Sequence[int] = "test",
    seed: int = 0,
    out: str | Path | None = None,
    report: bool = False,
    bound: bool | None = None,
    show: bool = True,
    on: Any = None,
    others: str | None = None,
) -> Evaluation:
    """Play policies on fixed days and compare what they cost.

    Parameters
    ----------
    source
        Folder of a run; or a preset name, path, mapping or resolved configuration.
    policy
        ``"learned"`` (the run's own actors), the path of another run or checkpoint, or the name of a local policy such
        as ``"rule_based"`` or ``"random"``; or several of them, the first of which is compared with the others. A
        mapping, alone or among several, gives names of their own to policies: ``{"mine": function}``, see
        :data:`powergrid.learn.deciders.Policies`. ``powergrid.SafePolicy(policy)`` plays any of them behind a
        safety layer.
    days
        Split (``"train"``, ``"validation"``, ``"test"``, ``"stress"``) or day indices of the dataset.
    seed
        Decides forecast errors and initial states; equal for all policies.
    out
        Folder for ``evaluation.json`` and ``trajectories/``; the run's own if ``None``, nowhere if there is no run.
    report
        Also write ``report.html`` in that folder.
    bound
        Compute each day's lower bound, see :func:`powergrid.learn.bound.lower_bound`; as `report` if ``None``. Left out
        where it says nothing of the learning agents alone, or a device has no linear model.
    show
        Print a table.
    on
        Another configuration to play the run's policies on: preset name, path, mapping or resolved configuration; the
        run's own if ``None``. Graph policies act on any feeder whose agents have roles that were trained. Results are
        written into ``on_<configuration>`` in the run's folder.
    others
        Local policy, such as ``"rule_based"``, that plays agents which trained policies do not know, and for which
        functions return no action. Without one such agents are refused.

    Raises
    ------
    ArgumentError
        If `on` is given without a run, the seed is no whole number from 0 to 2**64 - 1, or the policies are no such
        names and functions.
    ActionError
        If a function returns no action of an agent, or one of a wrong shape.
    ConfigError, UnknownNameError
        If the configuration, the days or a policy's name cannot be used.
    RunError
        If a learned policy is asked for without a run, does not fit the configuration, or results cannot be written.
    """
    import powergrid

    run, seed = run_folder(source), checked_seed(seed)
    if on is not None and run is None:
        raise ArgumentError(f'on="{on!s:.60}" plays the policies of a run elsewhere; give the run\'s folder as source')
    played = on if on is not None else source if run is None else run / "config.yaml"
    env = powergrid.make(played, backend="numpy")
    chosen = chosen_days(env.world, days)
    policies, envs = named_policies(policy), {corrected(env): env}

    def played_by(name: str, own: Policy) -> Outcome:
        """What a policy does in the environment whose actions are what it chooses."""
        residual = residual_of(own, run, corrected(env))
        if residual not in envs:
            resolved = with_overrides(env.world.resolved, residual=residual)
            envs[residual] = powergrid.make(resolved, backend="numpy")
        outcome = play(envs[residual], name, decider(envs[residual], own, run, name, others), chosen, seed)
        return replace(outcome, residual=residual)

    outcomes = tuple(played_by(name, own) for name, own in policies.items())
    result = Evaluation(
        name=env.world.resolved.config.name,
        days=tuple(int(day) for day in chosen),
        seed=seed,
        money_names=tuple(env.money_names),
        cost_names=tuple(env.constraint_names),
        outcomes=outcomes,
        bound=_bound(env, chosen, seed) if (report if bound is None else bound) else None,
    )
    home = run if on is None or run is None else run / f"on_{result.name}"
    folder = Path(out) if out is not None else home
    if folder is not None:
        _write(result, folder, env.world.resolved, own=folder == run and on is None)
    if show:
        console().print(result.table())
    if report and folder is not None:
        from powergrid.report import write_report

        write_report(folder)
    return result


def _bound(env: Any, days: np.ndarray, seed: int) -> np.ndarray | None:
    """Lower bound of each day [$/day], ``None`` where there is none."""
    from powergrid.learn.bound import NoBoundError, lower_bound

    settings = env.world.layout.settings
    if set(env.world.layout.accounts) != set(env.possible_agents):
        return None  # somebody else pays a part of what the bound holds
    per_day = 24.0 / (settings.episode_length * settings.dt_h)
    try:
        costs = [lower_bound(env.export_episode(int(day), episode_seed(seed, int(day)))).cost for day in days]
    except (NoBoundError, NetworkError):
        return None
    return np.array(costs) * per_day


class Timing(Protocol):
    """When decisions reach the actuators."""

    def begin(self, keys: np.ndarray) -> None:
        """Begin days with these random keys, ``(days, 2)``."""

    def arrive(self, state: Any, actions: np.ndarray) -> tuple[Any, np.ndarray]:
        """State and actions ``(days, A, k_max)`` of a tick in which these are decided."""


def play(env: Any, name: str, decide: Decider, days: np.ndarray, seed: int, timing: Timing | None = None) -> Outcome:
    """All days side by side: the batch costs little more than one day.

    With a `timing` the network follows what has arrived at the actuators instead of what is decided.
    """
    world, acting = env.world, len(env.possible_agents)
    simulation = Simulation(world)
    seeds = np.array([episode_seed(seed, int(day)) for day in days])
    key = random.fold_in(np, random.key_from_seed(np, seeds), np.zeros(len(days), np.int32))
    state, observation, *_ = simulation.reset(key, days)
    if timing is not None:
        timing.begin(key)
    seen = [observation.astype(np.float32)]
    rows: dict[str, list[np.ndarray]] = {"actions": [], "money": [], "costs": [], "reward": []}
    alive = np.ones(len(days), bool)
    ledger, accounts = world.layout.ledger, len(world.layout.accounts)
    names = ((accounts, len(ledger.money_names)), (accounts, len(ledger.cost_names)), (1, 1))
    sums = [np.zeros((len(days), *shape)) for shape in names]
    carbon_kg = np.zeros((len(days), accounts))
    for tick in range(world.layout.settings.episode_length):
        actions = np.asarray(decide(simulation, state, seen[-1]), np.float32)
        if not np.isfinite(actions).all():
            raise RunError(f'policy "{name}" chose an action that is not finite in tick {len(seen) - 1}')
        if timing is not None:
            state, actions = timing.arrive(state, actions)
        there = world.layout.alive(np, np.full(len(days), tick), state.absences)
        row = state.row
        state, output = simulation.step(state, actions)
        if world.carbon is not None:
            carbon_kg += np.where(alive[:, None], world.carbon_kg(output.measured_mw, row), 0.0)
        live = alive[:, None, None]
        for total, part in zip(sums, (output.money, output.costs, output.transfers[:, -1:, None]), strict=True):
            total += np.where(live, part, 0.0)
        money, costs = (np.where(live, table[:, :acting], 0.0) for table in (output.money, output.costs))
        paid = world.rewards(np, output.money, output.costs)[:, :acting]
        reward = np.where(alive[:, None] & there, paid, 0.0)
        for column, value in zip(rows, (np.where(live, actions, 0.0), money, costs, reward), strict=True):
            rows[column].append(value)
        seen.append(output.observation.astype(np.float32))
        alive &= ~output.done
    tables = {column: np.stack(values, 1) for column, values in rows.items()}
    arrays = {"obs": np.stack(seen, 1), **{column: table.astype(np.float32) for column, table in tables.items()}}
    per_day = 24.0 / (world.layout.settings.episode_length * world.layout.settings.dt_h)
    paid, priced, received = (total * per_day for total in sums)
    return Outcome(
        policy=name,
        money=tables["money"].sum((1, 2)) * per_day,
        costs=tables["costs"].sum((1, 2)) * per_day,
        violated_ticks=(tables["costs"].sum((2, 3)) > 0.0).sum(1) * per_day,
        ended_early=~alive,
        trajectory_hash=_hash(world.resolved, days, seed, arrays),
        arrays=arrays,
        other_accounts={
            account: (paid[:, row], priced[:, row])
            for row, account in enumerate(world.layout.accounts)
            if row >= acting
        },
        utility_receives=received[:, 0, 0],
        safety=_safety(decide, per_day * world.layout.settings.episode_length),
        carbon_kg={}
        if world.carbon is None
        else dict(zip(world.layout.accounts, (carbon_kg * per_day).T, strict=True)),
    )


def _safety(decide: Decider, ticks_per_day: float) -> dict[str, Any] | None:
    """What the safety layer of a policy has done; ``None`` without one."""
    if not isinstance(decide, SafeDecider):
        return None
    layer = decide.layer
    share = ticks_per_day / max(layer.decisions, 1)
    return {
        "margin_pu": layer.margin_pu,
        "rounds": layer.rounds,
        "ticks_changed_per_day": layer.changed * share,
        "ticks_outside_per_day": layer.outside * share,
        "held": list(layer.held),
    }


def _hash(resolved: Any, days: np.ndarray, seed: int, arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(resolved.to_yaml(resolved.base_dir).encode())
    digest.update(json.dumps([[int(day) for day in days], seed]).encode())
    for name in sorted(arrays):
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()


def run_folder(source: Any) -> Path | None:
    """The folder of a run, or ``None`` where the source is a configuration."""
    if isinstance(source, (str, Path)) and Path(source).is_dir():
        folder = Path(source)
        if not (folder / "config.yaml").exists():
            raise RunError(
                f"{folder}: no run ({FILE_NAME} and config.yaml are expected); give the folder that train returned"
            )
        return folder
    return None


def _write(result: Evaluation, folder: Path, resolved: Any, own: bool) -> None:
    """``evaluation.json``, ``trajectories/<day>.npz`` of the first policy and ``trajectories/<policy>/`` of others.

    A folder that is not the run's `own` also gets ``config.yaml``: results mean nothing without it.
    """
    if not own:
        _write_config(folder, resolved)
    with whole_folder(folder / "trajectories") as trajectories:
        for number, outcome in enumerate(result.outcomes):
            place = trajectories / (Path(outcome.policy).name if number else "")
            make_folder(place)
            for row, day in enumerate(result.days):
                arrays: dict[str, Any] = {name: table[row] for name, table in outcome.arrays.items()}
                write_whole(place / f"{day}.npz", lambda file, arrays=arrays: np.savez(file, **arrays))  # type: ignore[misc]
        write_json(folder / EVALUATION, result.to_dict())


def _write_config(folder: Path, resolved: Any) -> None:
    place, text = folder / "config.yaml", resolved.to_yaml(folder)
    if place.exists() and place.read_text(encoding="utf-8") != text:
        raise RunError(f"{place}: another configuration than the evaluated one; choose another folder (out=, --out)")
    make_folder(folder)
    write_whole(place, lambda file: file.write(text.encode()))
