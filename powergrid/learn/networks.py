"""Dense stacks, running normalisation and their first values, written once for JAX (training) and NumPy (acting)."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np

from powergrid.core.backend import Namespace
from powergrid.core.types import Array

Stack = dict[str, dict[str, Array]]
"""``{"dense_0": {"kernel": ..., "bias": ...}, "dense_1": ...}``; tanh between the layers, nothing after the last."""

CLIP = 10.0
"""Normalised entries are held within ``[-CLIP, CLIP]``, so that a rare value cannot saturate every unit."""

_VARIANCE_FLOOR = 1e-8


class Running(NamedTuple):
    """Mean and variance of all samples seen so far.

    Attributes
    ----------
    mean, var
        One entry a feature, ``(d,)``, or ``(n, d)`` where each of ``n`` agents keeps its own.
    count
        Samples behind them, ``()``; one number an agent, ``(n, 1)`` or ``(n,)``, where agents join or leave.
    """

    mean: Array
    var: Array
    count: Array


def running(shape: tuple[int, ...], counts: tuple[int, ...] = ()) -> Running:
    """Statistics before the first sample: mean 0 and variance 1, with no weight."""
    return Running(np.zeros(shape, np.float32), np.ones(shape, np.float32), np.zeros(counts, np.float32))


def merge(
    xp: Namespace, old: Running, samples: Array, memory: float = float("inf"), *, where: Array | None = None
) -> Running:
    """Fold `samples`, ``(*batch, *old.mean.shape)``, into statistics that count as `memory` samples at most.

    Pairwise update of Chan, Golub and LeVeque, "Algorithms for computing the sample variance", The American
    Statistician 37 (1983), doi:10.1080/00031305.1983.10483115: ``M2 = M2_a + M2_b + delta^2 n_a n_b / n``. Samples that
    `where`, which broadcasts against them, leaves out do not count.
    """
    axes = tuple(range(samples.ndim - old.mean.ndim))
    fresh: Any
    if where is None:
        fresh = float(np.prod([samples.shape[axis] for axis in axes]))
        mean, var = samples.mean(axes), samples.var(axes)
    else:
        fresh = where.sum(axes).astype(np.float32).reshape(old.count.shape)
        some = xp.maximum(fresh, 1.0)
        mean = xp.where(where, samples, 0.0).sum(axes) / some
        var = xp.where(where, (samples - mean) ** 2, 0.0).sum(axes) / some
    count = xp.minimum(old.count, memory) + xp.float32(fresh)
    share = fresh / (count if where is None else xp.maximum(count, 1.0))
    delta = mean - old.mean
    merged = old.var * (1.0 - share) + var * share + delta * delta * share * (1.0 - share)
    return Running(old.mean + delta * share, merged, count)


def normalise(xp: Namespace, stats: Running, values: Array) -> Array:
    """Zero mean, unit variance, clipped to ``[-CLIP, CLIP]``; a feature that never moved stays near 0."""
    scaled = (values - stats.mean) / xp.sqrt(stats.var + _VARIANCE_FLOOR)
    return xp.clip(scaled, -CLIP, CLIP)


def dense_stack(xp: Namespace, stack: Stack, x: Array) -> Array:
    """Output ``(*batch, n, k)`` of a stack for the inputs ``(*batch, n, d)`` of ``n`` agents.

    A kernel ``(d, h)`` serves all agents alike. Kernel rows beyond ``d`` belong to the one-hot agent number that the
    input carries in thought: multiplying by it picks one row an agent. A kernel ``(n, d, h)`` is one network an agent.
    """
    last = len(stack) - 1
    for number in range(len(stack)):
        kernel, bias = stack[f"dense_{number}"]["kernel"], stack[f"dense_{number}"]["bias"]
        if kernel.ndim == 3:
            x = xp.einsum("...ni,nij->...nj", x, kernel) + bias
        else:
            width = x.shape[-1]
            rows = (
                x.reshape(-1, width) @ kernel[:width]
            )  # one tall matrix: its gradient is half the work of a batched one's
            bias = bias + kernel[width:] if kernel.shape[0] > width else bias
            x = rows.reshape(*x.shape[:-1], kernel.shape[1]) + bias
        if number != last:
            x = xp.tanh(x)
    return x


def stack(
    rng: np.random.Generator, widths: tuple[int, ...], *, last_gain: float, agents: int = 1, shared: bool = True
) -> Stack:
    """Orthogonal kernels (gain ``sqrt(2)``, `last_gain` for the last layer) and zero biases.

    Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear neural
    networks", ICLR 2014, arXiv:1312.6120.

    Parameters
    ----------
    widths
        Input, hidden and output widths.
    agents, shared
        Shared between several agents, the input layer gains one row an agent (its one-hot number); not shared, every
        kernel and bias gains a leading axis of length `agents`.
    """
    layers: Stack = {}
    for number, (rows, columns) in enumerate(itertools.pairwise(widths)):
        gain = last_gain if number == len(widths) - 2 else np.sqrt(2.0)
        identity = agents if shared and agents > 1 and number == 0 else 0
        copies = [_orthogonal(rng, rows + identity, columns) for _ in range(1 if shared else agents)]
        kernel = gain * (copies[0] if shared else np.stack(copies))
        bias = np.zeros(columns if shared else (agents, columns), np.float32)
        layers[f"dense_{number}"] = {"kernel": kernel.astype(np.float32), "bias": bias}
    return layers


def _orthogonal(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Matrix with orthonormal rows or columns, whichever are fewer, uniformly distributed."""
    tall = rng.standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(tall)
    q = q * np.sign(np.diag(r))
    return q if rows >= columns else q.T
