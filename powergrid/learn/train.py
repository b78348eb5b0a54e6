"""Training runs: a folder with its configuration, its learning curve and a checkpoint that continues it bit for bit."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from powergrid.config.check_training import NONE
from powergrid.config.resolve import resolve, with_overrides
from powergrid.core.errors import ArgumentError, ConfigError, Issue, MissingExtraError, RunError
from powergrid.core.files import make_folder, write_json, write_whole
from powergrid.learn import checkpoint
from powergrid.learn.callbacks import Callback, Evaluate, Run, TensorBoard
from powergrid.learn.freeze import FrozenLearner, checked_freeze
from powergrid.learn.imitation import check_imitation, imitated
from powergrid.learn.training_loop import learn
from powergrid.learn.transfer import Source, begun_from, named
from powergrid.plugins.algorithms import DEFAULT, settings_model
from powergrid.plugins.registries import ALGORITHMS
from powergrid.report.files import META, read_meta, read_metrics
from powergrid.worlds.residual import corrected
from powergrid.worlds.seeds import checked_seed

CONFIG = "config.yaml"
STEPS = 1_000_000
EVALUATIONS = 10
"""Parts of a run that corrects a local policy, after each of which it plays the validation days."""


def train(
    source: Any,
    *,
    algo: str | None = None,
    steps: int | None = None,
    num_envs: int | None = None,
    seed: int | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    init_from: Source | None = None,
    imitate: str | None = None,
    residual: str | None = None,
    freeze: str | Sequence[str] = (),
    callbacks: Sequence[Callback] = (),
    progress: bool = True,
    checkpoint_every_s: float = 10.0,
    **hyper: Any,
) -> Path:
    """Train the learned agents of a configuration.

    Parameters
    ----------
    source
        Preset name, path, mapping, resolved configuration or functional environment.
    algo
        Name of the algorithm of a new run; that of the configuration's training section, or ``"mappo"``, if ``None``.
    steps
        Environment steps of the whole run; those of the training section, or 1,000,000, for a new run. Resuming with
        more prolongs a run.
    num_envs
        Environments in the batch; the algorithm's own choice if ``None``.
    seed
        Seed of weights, exploration and days; 0 for a new run.
    out
        Folder of the run; ``runs/<configuration>-<algorithm>-seed<seed>`` if ``None``.
    resume
        Continue the run in that folder from its last checkpoint, with its own settings, dropping what the learning
        curve holds beyond it. On the same machine, with as many devices, the curve is the one that an uninterrupted
        run would have drawn.
    init_from
        Folder or checkpoint of an earlier run whose weights and statistics a new run begins with. Its networks must
        have the same shapes. A mapping from groups to runs takes only the actors of these groups.
    imitate
        Local policy, such as ``"rule_based"`` or ``"mpc"``, that the actors of a new run are fitted to before they
        learn, see :mod:`powergrid.learn.imitation`; that of the training section if ``None``, and none if ``"none"``.
    residual
        Local policy, such as ``"rule_based"``, that actors learn to correct: they begin with it, and the run keeps the
        policies that are best on the validation days, the local one among them. That of the training section if
        ``None`` and nobody is to be imitated, and none if ``"none"``.
    freeze
        Groups and agents that act and do not learn; their policies keep their bits. Agents that share an actor with
        others can be frozen with the whole group only.
    callbacks
        What else happens along the run: evaluation on fixed days, loggers, or your own, see
        :class:`powergrid.learn.callbacks.Callback`. They change nothing of what is learned. A resumed run needs them
        again.
    progress
        Show a progress bar, or lines where there is no terminal.
    checkpoint_every_s
        Time between checkpoints [s]; there is always one at the end and at SIGINT or SIGTERM.
    **hyper
        Hyperparameters of the algorithm, which go before those of the training section, which go before defaults.

    Returns
    -------
    Path
        The run's folder: ``config.yaml``, ``meta.json``, ``metrics.jsonl``, ``tb/`` and ``checkpoint.npz``.

    Raises
    ------
    ArgumentError
        If the seed is no whole number from 0 to 2**64 - 1, `steps` none of one or more, or a callback none.
    ConfigError
        If the configuration or a hyperparameter cannot be used.
    RunError
        If the folder already holds a run, there is none to resume, settings differ from those of the run to resume,
        the disk is full, or learning diverged.
    MissingExtraError
        If JAX or Optax is not installed.
    """
    try:
        import jax  # noqa: F401
        import optax  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(error.name or "JAX", "rl", "training") from error
    if num_envs is not None:
        hyper["num_envs"] = num_envs
    callbacks = _checked_callbacks(callbacks)
    seed, steps = None if seed is None else checked_seed(seed), _checked_steps(steps)
    env = _open(source, residual, imitate)
    resolved = env.world.resolved
    written = getattr(resolved.config, "training", None)
    name = f"{resolved.config.name}-{algo or getattr(written, 'algorithm', None) or DEFAULT}-seed{seed or 0}"
    folder = Path(out) if out is not None else Path("runs") / name
    config_yaml = resolved.to_yaml(folder)
    wanted: dict[str, Any] = {"algorithm": algo, "steps": steps, "seed": seed, "settings": hyper}
    wanted["init_from"] = named(init_from)
    wanted["imitate"] = imitate
    wanted["freeze"] = ([freeze] if isinstance(freeze, str) else list(freeze)) or None
    meta = _resumed(folder, wanted, config_yaml) if resume else _begun(folder, wanted, written, config_yaml)
    learner = ALGORITHMS.get(meta["algorithm"])(env, meta["steps"], meta["settings"])
    _check_mixings(env, learner, meta["algorithm"])
    _check_limits(env, learner, meta["algorithm"])
    network = getattr(learner, "network", None)
    if meta["freeze"]:
        learner = FrozenLearner(learner, checked_freeze(meta["freeze"], env.groups), env.groups)
    resumed = resume and (folder / checkpoint.FILE_NAME).exists()
    first = {} if resumed else _first(learner, meta, env, network, progress)
    if corrected(env) is not None and env.world.resolved.empty_split("validation") is None:
        callbacks = _keeping(callbacks, -(-meta["steps"] // learner.steps_per_update))
        meta = {**meta, "keep": "best"}
    if not resume:
        meta = {**meta, **_provenance(env), "settings": learner.settings.model_dump(mode="json")}
        _create(folder, config_yaml, meta)
    state, step = learner.init(meta["seed"], compile_ahead=True), 0
    state = state._replace(**first)
    if resumed:
        state, step = checkpoint.restore(folder, state, env.groups)
    if resume:
        write_json(folder / META, meta)  # a resumed run may have more steps
    run = Run(
        folder,
        meta,
        env,
        steps=meta["steps"],
        step=step,
        steps_per_update=learner.steps_per_update,
        callbacks=_with_tensorboard(callbacks),
        network=None if network is None else _acting(network, env),
    )
    learn(run, learner, state, checkpoint_every_s=checkpoint_every_s, progress=progress)
    return folder


def _acting(network: Any, env: Any) -> dict[str, np.ndarray]:
    """What acting needs besides weights and statistics."""
    residual = corrected(env)
    return network.arrays() | ({} if residual is None else {"residual": np.array(residual)})


def _first(learner: Any, meta: dict[str, Any], env: Any, network: Any, progress: bool) -> dict[str, Any]:
    """Fields of a new run's state that come from another run or a policy; faults are told before a folder is made."""
    if meta["imitate"]:
        check_imitation(meta["imitate"], network, env)
    if not any(meta[name] for name in ("freeze", "init_from", "imitate")):
        return {}
    fresh = learner.fresh(meta["seed"])
    if meta["imitate"]:
        return imitated(meta["imitate"], fresh, env, network, meta["seed"], progress)
    return begun_from(meta["init_from"], fresh, env, network) if meta["init_from"] else {}


def _imitated(wanted: dict[str, Any], written: Any) -> str | None:
    """The policy that actors imitate first: weights of another run go before what the configuration says."""
    asked = wanted["imitate"]
    if asked not in (None, NONE) and wanted["init_from"]:
        message = "actors begin with the weights of another run (init_from) or imitate a policy, not both"
        raise ConfigError([Issue("imitate", message, "leave one of them out")])
    if asked is None and not wanted["init_from"]:
        asked = getattr(written, "imitate", None)
    return None if asked == NONE else asked


def _check_mixings(env: Any, learner: Any, algorithm: str) -> None:
    """Refuse an algorithm that would leave a protocol of kind learning without effect."""
    mixings = getattr(env.world, "mixings", ())
    if mixings and not getattr(learner, "federation", None):
        message = f'algorithm "{algorithm}" does not apply protocol {mixings[0].name}'
        raise ConfigError([Issue("protocols", message, "train with mappo or ippo, or leave the protocol out")])


def _check_limits(env: Any, learner: Any, algorithm: str) -> None:
    """Warn where an algorithm prices what the configuration limits."""
    limits = getattr(env, "cost_limits", {})
    if limits and getattr(learner, "constraints", None) is None:
        warnings.warn(
            f'training.cost_limits ({", ".join(limits)}): algorithm "{algorithm}" prices violations and keeps '
            "no limit; ppo_lagrangian, cpo and apg keep them",
            stacklevel=3,
        )


def _with_tensorboard(callbacks: Sequence[Callback]) -> tuple[Callback, ...]:
    """The callbacks, and one for TensorBoard where it is installed and there is none yet."""
    kinds = any(isinstance(callback, TensorBoard) for callback in callbacks)
    return (*callbacks, *([] if kinds or not TensorBoard.installed() else [TensorBoard()]))


def _checked_callbacks(callbacks: Any) -> tuple[Callback, ...]:
    """Callbacks with all their methods."""
    methods = ("begin", "measure", "log", "end")
    for callback in callbacks:
        missing = [name for name in methods if not callable(getattr(callback, name, None))]
        if missing or isinstance(callback, type):
            raise ArgumentError(
                f"{callback!r:.60} is no callback: {'it is a class, make an object of it' if not missing else ''}"
                f"{f'it has no {missing[0]}; derive it from powergrid.learn.callbacks.Callback' if missing else ''}"
            )
    return tuple(callbacks)


def _open(source: Any, residual: str | None, imitate: str | None) -> Any:
    """The environment that is trained in."""
    imitates = imitate not in (None, NONE)
    if imitates and residual not in (None, NONE):
        message = "actors begin with the policy that they correct (residual) or imitate one, not both"
        raise ConfigError([Issue("residual", message, "leave one of them out")])
    if hasattr(source, "groups") and hasattr(source, "step"):
        if residual not in (None, NONE, corrected(source)):
            message = f'actions of this environment correct {corrected(source) or "nothing"}, not "{residual}"'
            raise ConfigError([Issue("residual", message, "make the environment with it, or give a configuration")])
        return source
    from powergrid.envs.factory import for_training

    resolved = resolve(source)
    written = resolved.config.training.residual
    asked = residual or (None if imitates else written)
    chosen = None if asked == NONE else asked
    if asked is not None:
        resolved = with_overrides(resolved, residual=chosen)
    if written not in (None, chosen or NONE):  # the run's own configuration makes the same run again
        resolved = with_overrides(resolved, training={"residual": chosen or NONE})
    return for_training(resolved, days="train")


def _keeping(callbacks: tuple[Callback, ...], updates: int) -> tuple[Callback, ...]:
    """The callbacks, one of which keeps the best policies."""
    if any(isinstance(callback, Evaluate) and callback.keep for callback in callbacks):
        return callbacks
    return (*callbacks, Evaluate(every=max(updates // EVALUATIONS, 1), keep="best", name="kept"))


def _checked_steps(steps: Any) -> int | None:
    if steps is None or (isinstance(steps, (int, np.integer)) and not isinstance(steps, bool) and steps >= 1):
        return None if steps is None else int(steps)
    raise ArgumentError(f"steps {steps!r} is not a whole number of one or more, such as 1_000_000")


def _begun(folder: Path, wanted: dict[str, Any], written: Any, config_yaml: str) -> dict[str, Any]:
    """Settings of a new run: what the caller says, then what is `written` in the training section, then defaults."""
    held = [name for name in (META, checkpoint.FILE_NAME) if (folder / name).exists()]
    if (folder / CONFIG).exists() and _config_text(folder) != config_yaml:
        held.append(CONFIG)
    if held:
        raise RunError(
            f"{folder}: there is already a run ({held[0]}). Resume it (resume=True, --resume), choose another folder "
            "(out=, --out), or delete it"
        )
    own = getattr(written, "algorithm", None) or DEFAULT
    algorithm, settings = wanted["algorithm"] or own, dict(getattr(written, "settings", {}))
    if algorithm != own:
        _check_settings_of_another(settings, own, algorithm)
    return {
        "algorithm": algorithm,
        "steps": wanted["steps"] or getattr(written, "steps", None) or STEPS,
        "seed": wanted["seed"] or 0,
        "settings": {**settings, **wanted["settings"]},
        "init_from": wanted["init_from"],
        "imitate": _imitated(wanted, written),
        "freeze": wanted["freeze"],
    }


def _check_settings_of_another(settings: dict[str, Any], own: str, algorithm: str) -> None:
    """Refuse hyperparameters that the configuration sets for its own algorithm and another one does not have."""
    if not settings:
        return
    known = settings_model(algorithm).model_fields
    issues = [
        Issue(
            f"training.settings.{name}",
            f'the configuration sets it for {own}; algorithm "{algorithm}" has no such hyperparameter',
            f"leave it out of the configuration, and set it for {own} where that is trained (--set {name}={value})",
        )
        for name, value in settings.items()
        if name not in known
    ]
    if issues:
        raise ConfigError(issues)


def _resumed(folder: Path, wanted: dict[str, Any], config_yaml: str) -> dict[str, Any]:
    """Settings of the run in `folder`; what the caller says must agree with them, but for more steps."""
    try:
        meta, held_yaml = read_meta(folder).model_dump(), _config_text(folder)
        read_metrics(folder)  # what cannot be continued is refused before anything is compiled or written
        if (folder / checkpoint.FILE_NAME).exists():
            checkpoint.load(folder)
    except FileNotFoundError as error:
        raise RunError(f"{folder}: there is no run to resume ({Path(error.filename).name} is missing)") from error
    if held_yaml != config_yaml:
        raise RunError(
            f"{folder}: the configuration differs from the run's own {CONFIG}; resume with that one, or choose another "
            "folder"
        )
    fixed = ("algorithm", "seed", "init_from", "imitate", "freeze")
    meta = {**dict.fromkeys(fixed), **meta}  # runs of earlier versions lack some of them
    asked = {**{name: wanted[name] for name in fixed}, **wanted["settings"]}
    held = {**{name: meta[name] for name in fixed}, **meta["settings"]}
    for name, value in asked.items():
        if name == "imitate" and value == NONE and not held[name]:
            continue
        if value is not None and name in held and _plain(value) != held[name]:
            raise RunError(
                f"{folder}: {name} is {held[name]} in this run, not {value}; resume without it, or start another run"
            )
    unknown = {name: value for name, value in wanted["settings"].items() if name not in held}
    settings = {**meta["settings"], **unknown}  # unknown names are for the algorithm to refuse
    return {**meta, "steps": max(meta["steps"], wanted["steps"] or 0), "settings": settings}


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _provenance(env: Any) -> dict[str, Any]:
    """Versions, backend and days, for ``meta.json``."""
    import platform
    from importlib import metadata

    import jax

    packages = {"powergrid": "powergrid-marl", "jax": "jax", "jaxlib": "jaxlib", "optax": "optax", "numpy": "numpy"}
    versions = {"python": platform.python_version()}
    for name, package in packages.items():
        try:
            versions[name] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed as a package"
    device = jax.devices()[0]
    return {
        "versions": versions,
        "backend": f"jax/{device.platform}",
        "device": device.device_kind,
        "devices": jax.local_device_count(),
        "days": [int(day) for day in env.days],
        "groups": {group: list(members) for group, members in env.groups.items()},
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _config_text(folder: Path) -> str:
    return (folder / CONFIG).read_text(encoding="utf-8", errors="replace")


def _create(folder: Path, config_yaml: str, meta: dict[str, Any]) -> None:
    """A new run's configuration and ``meta.json``: both or, when that fails, neither."""
    new = not folder.exists()
    make_folder(folder)
    try:
        write_whole(folder / CONFIG, lambda file: file.write(config_yaml.encode()))
        write_json(folder / META, meta)
    except RunError:
        (folder / CONFIG).unlink(missing_ok=True)
        if new:
            with contextlib.suppress(OSError):  # somebody else has put a file into it
                folder.rmdir()
        raise
