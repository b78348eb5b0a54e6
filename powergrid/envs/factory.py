"""One function for each kind of environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

from powergrid.core.errors import ConfigError, Issue, NetworkError, nearest

if TYPE_CHECKING:
    from gymnasium.vector import AutoresetMode

    from powergrid.config.resolve import Source
    from powergrid.envs.functional import FunctionalEnv
    from powergrid.envs.multi_agent.aec_env import AecPowerGridEnv
    from powergrid.envs.multi_agent.pettingzoo_env import MultiAgentPowerGridEnv
    from powergrid.envs.single_agent.gymnasium_env import SingleAgentPowerGridEnv
    from powergrid.envs.single_agent.vector_env import SingleAgentVectorEnv
    from powergrid.envs.vector import VectorPowerGridEnv

APIS = ("parallel", "aec", "gymnasium")
VECTOR_APIS = ("multi", "gymnasium")


@overload
def make(
    source: Source,
    *,
    api: Literal["parallel"] = "parallel",
    backend: str = ...,
    render_mode: str | None = ...,
    days: str | Sequence[int] | None = ...,
    normalize: bool = ...,
    pad: str | None = ...,
    agent_id: bool = ...,
    infos: str = ...,
    **overrides: Any,
) -> MultiAgentPowerGridEnv: ...


@overload
def make(
    source: Source,
    *,
    api: Literal["aec"],
    backend: str = ...,
    render_mode: str | None = ...,
    days: str | Sequence[int] | None = ...,
    normalize: bool = ...,
    pad: str | None = ...,
    agent_id: bool = ...,
    infos: str = ...,
    **overrides: Any,
) -> AecPowerGridEnv: ...


@overload
def make(
    source: Source,
    *,
    api: Literal["gymnasium"],
    backend: str = ...,
    render_mode: str | None = ...,
    days: str | Sequence[int] | None = ...,
    normalize: bool = ...,
    pad: str | None = ...,
    agent_id: bool = ...,
    infos: str = ...,
    **overrides: Any,
) -> SingleAgentPowerGridEnv: ...


def make(
    source: Source,
    *,
    api: str = "parallel",
    backend: str = "auto",
    render_mode: str | None = None,
    days: str | Sequence[int] | None = None,
    normalize: bool = False,
    pad: str | None = None,
    agent_id: bool = False,
    infos: str = "flat",
    **overrides: Any,
) -> MultiAgentPowerGridEnv | AecPowerGridEnv | SingleAgentPowerGridEnv:
    """Make an environment.

    Parameters
    ----------
    source
        Preset name, path of a YAML file, mapping or resolved configuration.
    api
        ``"parallel"`` (PettingZoo, all agents at once), ``"aec"`` (PettingZoo, agents in turn) or ``"gymnasium"``
        (for a configuration with one learning agent).
    backend
        ``"fused"`` (the compiled step), ``"numpy"`` (the reference, for debugging), or ``"auto"`` for the faster one.
    render_mode
        ``None``, ``"rgb_array"`` (a picture of the feeder) or ``"human"`` (one line of text per tick on the terminal).
    days
        Split from which episodes are drawn (``"train"``, ``"validation"``, ``"test"``, ``"stress"``) or day indices; by
        default the training days, or the test days where the configuration says ``training.train: false``.
    normalize
        Whether observations, and the central state, are scaled so that the range in which each number usually lies
        becomes [-1, 1]: the least and the greatest value of a series on training days, ratings of devices, the voltage
        band; sine and cosine remain. Numbers may leave that interval on other days, and never the bounds of the spaces.
        ``env.observation_scale(agent)`` returns to physical units.
    pad
        ``"role"`` gives agents of one role (``env.roles``: those of one class) equal spaces and equal names of
        entries, such as ``storage.p`` in place of ``ess_2.p``. What all of them have comes first; where an agent lacks
        an entry, its observation is zero and its action has no effect. ``"all"`` then also fills the observations and
        actions of all agents to the longest.
    agent_id
        Whether each observation ends with the number of the agent, one-hot: among the agents of its role under
        ``pad="role"``, otherwise among all, in the order of ``possible_agents``.
    infos
        ``"flat"``, or ``"none"`` for empty dictionaries, which is faster.
    **overrides
        Changes to the configuration by keyword, such as ``time_step=3600``.

    Returns
    -------
    MultiAgentPowerGridEnv, AecPowerGridEnv or SingleAgentPowerGridEnv
        The environment in the form that `api` names.

    Raises
    ------
    ConfigError
        If the configuration or an argument cannot be used.
    """
    from powergrid.envs.multi_agent.pettingzoo_env import MultiAgentPowerGridEnv
    from powergrid.worlds.simulation import BACKENDS, first_use

    _check_choice("api", api, APIS)
    _check_choice("backend", backend, BACKENDS)
    with first_use(backend, 1):
        env = MultiAgentPowerGridEnv(
            source,
            render_mode=render_mode,
            days=days,
            backend=backend,
            normalize=normalize,
            pad=pad,
            agent_id=agent_id,
            infos=infos,
            **overrides,
        )
    if api == "aec":
        from powergrid.envs.multi_agent.aec_env import AecPowerGridEnv

        return AecPowerGridEnv(env)
    if api == "gymnasium":
        from powergrid.envs.single_agent.gymnasium_env import SingleAgentPowerGridEnv

        return SingleAgentPowerGridEnv(env)
    return env


@overload
def make_vec(
    source: Source,
    num_envs: int,
    *,
    api: Literal["multi"] = "multi",
    autoreset: AutoresetMode | str | None = ...,
    threads: int = ...,
    dtype: str = ...,
    backend: str = ...,
    days: str | Sequence[int] | None = ...,
    normalize: bool = ...,
    pad: str | None = ...,
    agent_id: bool = ...,
    infos: str = ...,
    **overrides: Any,
) -> VectorPowerGridEnv: ...


@overload
def make_vec(
    source: Source,
    num_envs: int,
    *,
    api: Literal["gymnasium"],
    autoreset: AutoresetMode | str | None = ...,
    threads: int = ...,
    dtype: str = ...,
    backend: str = ...,
    days: str | Sequence[int] | None = ...,
    normalize: bool = ...,
    pad: str | None = ...,
    agent_id: bool = ...,
    infos: str = ...,
    **overrides: Any,
) -> SingleAgentVectorEnv: ...


def make_vec(
    source: Source,
    num_envs: int,
    *,
    api: str = "multi",
    autoreset: AutoresetMode | str | None = None,
    threads: int = 1,
    dtype: str = "float64",
    backend: str = "auto",
    days: str | Sequence[int] | None = None,
    normalize: bool = False,
    pad: str | None = None,
    agent_id: bool = False,
    infos: str = "flat",
    **overrides: Any,
) -> VectorPowerGridEnv | SingleAgentVectorEnv:
    """Make many copies of an environment that step together on the CPU.

    Parameters
    ----------
    source
        As for :func:`make`.
    num_envs
        Number of environments; ``reset(seed=s)`` gives environment i the seed ``s + i``.
    api
        ``"multi"`` (dictionaries by agent) or ``"gymnasium"`` (arrays, for a configuration with one learning agent).
    autoreset
        ``"same_step"`` if the next episode starts in the step in which one ends, whose last observations are then
        ``infos["final_obs"]``; ``"next_step"`` if the step after starts it, whose action has no effect; or Gymnasium's
        ``AutoresetMode`` of either. ``None`` is ``"same_step"`` for ``"multi"``, and ``"next_step"`` for
        ``"gymnasium"``, the usual one there, which the wrapper ``NormalizeObservation`` needs.
    threads
        Number of threads.
    dtype
        ``"float64"``: every step on the CPU is computed in it; observations are float32.
    backend, days, normalize, pad, agent_id
        As for :func:`make`.
    infos
        ``"flat"``, or ``"none"`` for infos without anything but ``final_obs`` where episodes have ended.
    **overrides
        Changes to the configuration by keyword.

    Returns
    -------
    VectorPowerGridEnv or SingleAgentVectorEnv
        The environment in the form that `api` names.

    Raises
    ------
    ConfigError
        If the configuration or an argument cannot be used.
    """
    from powergrid.envs.arguments import checked_autoreset
    from powergrid.envs.form import Form
    from powergrid.envs.vector import VectorPowerGridEnv
    from powergrid.worlds.build import build
    from powergrid.worlds.simulation import BACKENDS, first_use

    form = Form(normalize, pad, agent_id, infos).checked()

    if dtype != "float64":
        hint = "steps on the CPU are computed in float64; for float32 use make_functional, which runs on JAX"
        raise ConfigError([Issue("dtype", f"{dtype!r} is not float64", hint)])
    _check_choice("api", api, VECTOR_APIS)
    _check_choice("backend", backend, BACKENDS)
    mode = checked_autoreset(autoreset or ("same_step" if api == "multi" else "next_step"))
    for name, value in (("num_envs", num_envs), ("threads", threads)):
        if not isinstance(value, int) or value < 1:
            raise ConfigError(
                [
                    Issue(
                        name,
                        f"{value!r} is not a whole number of at least 1",
                        "such as 1 or 64",
                    )
                ]
            )
    with first_use(backend, -(-num_envs // threads)):
        world = build(source, **overrides)
        env = VectorPowerGridEnv(
            world, num_envs, threads=threads, backend=backend, days=days, form=form, autoreset=mode
        )
    if api == "gymnasium":
        from powergrid.envs.single_agent.vector_env import SingleAgentVectorEnv

        return SingleAgentVectorEnv(env)
    return env


def make_functional(
    source: Source,
    *,
    dtype: str = "float32",
    auto_reset: bool = True,
    days: str | Sequence[int] | None = None,
    tol_pu: float | None = None,
    normalize: bool = False,
    pad: str | None = None,
    agent_id: bool = False,
    **overrides: Any,
) -> FunctionalEnv:
    """Make a functional environment on JAX: pure ``reset(key)`` and ``step(key, state, actions)``.

    Parameters
    ----------
    source
        As for :func:`make`.
    dtype
        ``"float32"`` or ``"float64"`` (within JAX's 64-bit mode).
    auto_reset
        Whether the next episode starts in the step in which one ends.
    days
        As for :func:`make`.
    normalize, pad, agent_id
        As for :func:`make`; ``env.groups`` are then the roles, or one group ``"agents"`` of all.
    tol_pu
        Tolerance of the power flow [pu]; 1e-6 in float32 and 1e-8 in float64 by default.
    **overrides
        Changes to the configuration by keyword.

    Raises
    ------
    ConfigError
        If the configuration or an argument cannot be used.
    MissingExtraError
        If JAX is not installed.
    """
    _check_choice("dtype", dtype, ("float32", "float64"))
    if tol_pu is None:
        tol_pu = 1e-6 if dtype == "float32" else 1e-8
    from powergrid.envs.form import Form

    form = Form(normalize, pad, agent_id).checked()
    return _functional(source, tol_pu, overrides, dtype=dtype, auto_reset=auto_reset, days=days, form=form)


def for_training(source: Source, days: str | Sequence[int] | None = None) -> FunctionalEnv:
    """Make what a trainer needs: a functional environment, which may have agents that decide in Python.

    Those run on the compiled step, so that only a roll-out with it can be used; so does a network whose power flow JAX
    does not solve, such as one with generators that hold a voltage.
    """
    try:
        return _functional(source, 1e-6, {}, days=days, traced=False)
    except NetworkError:
        from powergrid.envs.functional import FunctionalEnv
        from powergrid.worlds.build import build

        return FunctionalEnv(build(source), days=days, traced=False)


def _functional(source: Source, tol_pu: float, overrides: dict[str, Any], **keywords: Any) -> FunctionalEnv:
    from powergrid.core.backend import jax_numpy

    jax_numpy()  # a readable error if JAX is missing
    from powergrid.envs.functional import FunctionalEnv
    from powergrid.worlds.build import build

    return FunctionalEnv(build(source, method="zbus", tol_pu=tol_pu, **overrides), **keywords)


def _check_choice(name: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        hint = nearest(value, allowed) or f"one of {', '.join(allowed)}"
        raise ConfigError([Issue(name, f'"{value}" is not available', hint)])
