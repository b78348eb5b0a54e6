"""Checks of the inputs of a solve, and the number of its scenarios."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from powergrid.core.errors import NetworkError
from powergrid.core.types import Array, Control, NodeLoad
from powergrid.powerflow.compiled import Compiled


class Voltages(Protocol):
    """Bus or node voltages to start from, such as an earlier flow."""

    @property
    def v_re(self) -> Array: ...
    @property
    def v_im(self) -> Array: ...


def batch_shape(compiled: Compiled, load: NodeLoad, control: Control | None, start: Voltages | None) -> tuple[int, ...]:
    """Common leading axes of a solve's inputs.

    Raises
    ------
    NetworkError
        If an input has another width than the network, or chooses a topology that the plan lacks.
    """
    m, leads = compiled.n_bus, set()
    groups: list[tuple[tuple[Array, ...], int]] = [(load, compiled.n_place)]
    if control is not None:
        if control.topology is not None:
            leads.add(_topology_shape(compiled, control.topology))
        groups += [(control[:1], len(compiled.regulator)), (control[1:2], len(compiled.cap_bus))]
        if control.v_source_pu is not None:
            leads.add(np.shape(control.v_source_pu))
    if start is not None:
        groups.append(((start.v_re, start.v_im), m))
    for values, width in groups:
        for value in values:
            if value is None:
                continue
            shape = np.shape(value)
            if not shape or shape[-1] != width:
                raise NetworkError(_misfit(compiled, load, control, start))
            if len(shape) > 1:
                leads.add(shape[:-1])
    return leads.pop() if len(leads) == 1 else np.broadcast_shapes(*leads)


def _topology_shape(compiled: Compiled, topology: Array) -> tuple[int, ...]:
    """Batch axes of a choice of topologies, whose values are checked where they can be read."""
    if isinstance(topology, np.ndarray | np.integer | int):
        wrong = np.asarray(topology)[(np.asarray(topology) < 0) | (np.asarray(topology) >= compiled.n_topology)]
        if wrong.size:
            raise NetworkError(
                f"Control.topology {wrong.flat[0]} is none of the plan's {compiled.n_topology} topologies; 0 is the "
                "network as given, the others are numbered from 1 in the order of plan(..., topologies=)"
            )
    return np.shape(topology)


def _misfit(compiled: Compiled, load: NodeLoad, control: Control | None, start: Voltages | None) -> str:
    """Sentence that names the inputs which do not fit the network."""
    widths = {name: (value, compiled.n_place) for name, value in load._asdict().items()}
    if control is not None:
        widths["tap_ratio"] = (control.tap_ratio, len(compiled.regulator))
        widths["cap_on"] = (control.cap_on, len(compiled.cap_bus))
    if start is not None:
        widths |= {"start.v_re": (start.v_re, compiled.n_bus), "start.v_im": (start.v_im, compiled.n_bus)}
    wrong = [
        f"{name} has shape {np.shape(value)}, its last axis must be {width} wide"
        for name, (value, width) in widths.items()
        if value is not None and np.shape(value)[-1:] != (width,)
    ]
    return f"inputs that do not fit a network of {compiled.n_bus} buses: {'; '.join(wrong)}"
