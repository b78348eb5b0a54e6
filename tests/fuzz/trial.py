"""Tries mutants one after the other, a line of JSON about each: ``python trial.py KIND SEED START STOP``."""

from __future__ import annotations

import json
import random
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from files import KINDS
from mutants import mutant

import powergrid
from powergrid.core.errors import AgentError, ConfigError
from powergrid.worlds.check_members import check_members

STEPS = 3
SECONDS = {"numpy": 120, "auto": 900}
"""A mutant that takes longer hangs; usual are a few tenths of a second, and a minute to compile a new family."""
GROWTH_BYTES = 1.5e9
"""A mutant that takes more memory than those before it by so much explodes."""
COMPILED_EVERY = 50
"""So many valid mutants run on NumPy to one that runs compiled."""


class Hang(BaseException):
    """A mutant has taken too long."""


def trial(given: Any, backend: str = "numpy") -> str:
    """``refused`` or ``ran``; an exception otherwise."""
    try:
        resolved = powergrid.load_config(given)
    except ConfigError as error:
        if not error.issues or not all(issue.message.strip() for issue in error.issues):
            raise AssertionError("refused without a finding, or with one that says nothing") from error
        return "refused"
    if resolved.empty_split(resolved.default_split) is not None:  # as `powergrid validate` refuses it
        return "refused"
    try:
        check_members(resolved)  # as `powergrid validate` does
    except (ConfigError, AgentError):
        return "refused"
    env = powergrid.make(resolved, backend=backend)
    observations, _ = env.reset(seed=0)
    _all_finite("observations at reset", observations)
    draw = np.random.default_rng(0)
    for _ in range(STEPS):
        if not env.agents:
            break
        actions = {agent: draw.uniform(-1, 1, env.action_space(agent).shape) for agent in env.agents}
        observations, rewards, _, _, infos = env.step(actions)
        _all_finite("observations", observations)
        _all_finite("rewards", rewards)
        _all_finite("money", {agent: info["money"] for agent, info in infos.items()})
        _all_finite("costs", {agent: info["costs"] for agent, info in infos.items()})
    return "ran"


def _all_finite(what: str, values: dict[str, Any]) -> None:
    for agent, value in values.items():
        assert np.isfinite(value).all(), f"{what} of {agent} are not finite: {value}"


def configuration(seed: int, number: int, folder: Path, backend: str) -> str:
    """Try a configuration, as a file or as a mapping."""
    given = mutant(seed, number).given
    if isinstance(given, str):
        (folder / "mutant.yaml").write_text(given, encoding="utf-8", errors="surrogatepass")
        given = folder / "mutant.yaml"
    return trial(given, backend)


def judge(attempt: Callable[[], str], seconds: int) -> dict[str, str]:
    """What becomes of a mutant, as words."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.alarm(seconds)
    try:
        said = {"outcome": attempt()}
    except Hang:
        said = {"outcome": "hang", "why": traceback.format_exc()}
    except BaseException:
        said = {"outcome": "fault", "why": traceback.format_exc()}
    finally:
        signal.alarm(0)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    if grown > GROWTH_BYTES:
        said = {"outcome": "fault", "why": f"memory grew by {grown / 1e9:.1f} GB; {said.get('why', said['outcome'])}"}
    return said


def main(kind: str, seed: int, start: int, stop: int) -> None:
    """Try the mutants of a range of numbers."""

    def over(*_: Any) -> None:
        raise Hang

    signal.signal(signal.SIGALRM, over)
    warnings.simplefilter("ignore")
    ran = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(start, stop):
            print(json.dumps({"number": number}), flush=True)
            if kind != "configuration":
                draw = random.Random(f"{kind}/{seed}/{number}")
                said = judge(partial(KINDS[kind], draw, folder), SECONDS["numpy"])
            else:
                said = judge(partial(configuration, seed, number, folder, "numpy"), SECONDS["numpy"])
                ran += said["outcome"] == "ran"
                if said["outcome"] == "ran" and ran % COMPILED_EVERY == 0:
                    said = judge(partial(configuration, seed, number, folder, "auto"), SECONDS["auto"])
            print(json.dumps({"number": number, **said}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:5]))
