"""From a device family's kernels to C functions that a compiled loop can call, kept on disk.

For each family a small module is written into the user's cache folder: loops over units that gather one unit's
parameters, state, command and series, and call the family's own kernels on lanes, see
:mod:`powergrid.engine.compiled.vector_types`. numba keeps what it compiled beside that file, so the cost, about a
second per family, is paid once on a machine, whatever network or preset the family is used in. The file's name holds a
fingerprint of the kernels; a file that does not read as it should is written anew.

Arguments are plain C: counts, numbers and pointers to float64 or int64. A block of ``k`` fields of ``n`` units lies
field by field; parameters are numbers, everything that differs between environments a row of lanes.
"""

from __future__ import annotations

import atexit
import hashlib
import logging
import platform
import shutil
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType, MappingProxyType, ModuleType
from typing import Any, NamedTuple

import numba
import numpy as np
from numba.core.errors import NumbaError
from platformdirs import user_cache_path

import powergrid.engine.compiled.named_tuples  # noqa: F401  (kernels use ``_replace``)
from powergrid.core import machine_code
from powergrid.core.errors import NotCompilableError
from powergrid.core.files import write_whole
from powergrid.core.types import Injection
from powergrid.engine.compiled import vector_types
from powergrid.engine.layout import Family
from powergrid.networks.regulation import steps_taken

_log = logging.getLogger("powergrid")


class Kernels(NamedTuple):
    """Addresses of a family's compiled functions, 0 where it has none; :func:`_source` says what they take.

    Attributes
    ----------
    step
        Command and series to state and injection.
    account
        State and injection to money, priced violations and readings.
    failed
        State and injection of units out of service, where a unit may be.
    move, want
        Of regulators: take the steps wanted; ask for steps at the voltages found.
    readings
        Number of columns that readings fill.
    """

    step: int
    account: int
    failed: int
    move: int
    want: int
    readings: int


def compile_family(family: Family, lanes: int = 1, fails: bool = False) -> Kernels:
    """Compile a family's kernels for so many lanes, or load what an earlier process compiled.

    `fails` says whether a unit of the family may be out of service.

    Raises
    ------
    NotCompilableError
        If a kernel uses what floats do not have, such as sums over units.
    """
    kernel = family.kernel
    if kernel.role == "injection" and any(source.kind == "p_branch_mw" for source in family.sources):
        raise NotCompilableError(f"{kernel.__name__} reads p_branch_mw")
    readings, settles = outputs_of(family)
    return _compiled(kernel, tuple(source.kind for source in family.sources), readings, settles, lanes, fails)


@cache
def _compiled(
    kernel: Any, kinds: tuple[str, ...], readings: int, settles: bool, lanes: int, fails: bool = False
) -> Kernels:
    names = (*KERNELS, "failed") if fails else KERNELS
    module = module_of(kernel, _source(kernel, kinds, readings, settles, lanes, fails), names)
    step, account, failed, move, want = (address_of(module, name) for name in Kernels._fields[:-1])
    return Kernels(step, account, failed, move, want, readings)


KERNELS = ("step", "money", "violation", "readings", "worth", "moved", "ratio", "wanted_steps")
"""Kernels of a family that the loops of its module call, besides ``failed`` where a unit may be out of service."""


def module_of(
    kernel: Any,
    source: str,
    names: tuple[str, ...],
    vocabulary: ModuleType = vector_types,
    also: Mapping[str, Any] = MappingProxyType({}),
) -> ModuleType:
    """A written module with loops that call kernels, compiled or as an earlier process kept it.

    Parameters
    ----------
    kernel
        Class that holds the kernels, which the module knows as ``KERNEL``.
    source
        Text of the module.
    names
        Kernels that it calls.
    vocabulary
        What kernels receive as ``xp``.
    also
        More that the module knows.

    Raises
    ------
    NotCompilableError
        If a kernel uses what the vocabulary does not have.
    """
    try:
        return _load(kernel, source, names, _folder(), also)
    except NumbaError as error:
        reason = str(error).strip().splitlines()[0]
        raise NotCompilableError(f"the kernels of {kernel.__name__} cannot be compiled: {reason}") from error
    except Exception as error:  # whatever a truncated or foreign cache file makes numba raise
        if isinstance(error, AttributeError) and error.obj is vocabulary:
            reason = f"they use xp.{error.name}, which is not in the vocabulary of kernels"
            raise NotCompilableError(f"the kernels of {kernel.__name__} cannot be compiled: {reason}") from error
        _log.warning("the kept kernels of %s cannot be read (%r): compiling them anew", kernel.__name__, error)
        return _load(kernel, source, names, _own_folder(), also)


def address_of(module: ModuleType, name: str) -> int:
    """Address of a C function of a written module, 0 where it has none of that name."""
    return int(getattr(module, name).address) if hasattr(module, name) else 0


def outputs_of(family: Family) -> tuple[int, bool]:
    """Number of reading columns and whether the family holds something of worth, from a trial on zeros."""
    zero, kernel = np.zeros(family.size), family.kernel
    state = kernel.reset(np, family.params, zero)
    readings = len(kernel.readings(np, family.params, state, Injection(zero, zero)))
    return readings, kernel.worth(np, family.params, state, zero) is not None


# -- the module that is written ---------------------------------------------------------------------------------

_HEAD = '''"""Compiled loops over the units of {name}; written by powergrid.engine.compiled, safe to delete."""

from numba import types

from powergrid.core.types import Injection
from powergrid.engine.compiled import vector_types as xp
from powergrid.engine.compiled.kernels import c_function, compiled
from powergrid.engine.compiled.rows import {rows}
from powergrid.networks.regulation import steps_taken

Params, State, Command, Exogenous = KERNEL.Params, KERNEL.State, KERNEL.Command, KERNEL.Exogenous
get, put, fill = {rows}.get, {rows}.put, {rows}.fill
n_, f_ = types.int64, types.float64
r_, i_ = types.CPointer(types.float64), types.CPointer(types.int64)
'''

_STEP = """
kernel_step = compiled(KERNEL.step)


@c_function(types.void(n_, r_, i_, r_, r_, r_, r_, f_, r_, r_, r_))
def step(n, numbers, places, state, physical, now, v_pu, dt_h, after, p_mw, q_mvar):
    for u in range(n):
        new, injection = kernel_step(xp, {params}, {state}, {command}, {exogenous}, dt_h)
        put(p_mw, u, injection.p_mw)
        put(q_mvar, u, injection.q_mvar)
{after}
"""

_FAILED = """
kernel_failed = compiled(KERNEL.failed)


@c_function(types.void(n_, r_, i_, r_, r_, r_, f_, r_, i_, r_, r_, r_))
def failed(n, numbers, places, state, now, v_pu, dt_h, carried, column, after, p_mw, q_mvar):
    for u in range(n):
        if column[u] < 0:
            continue
        out = get(carried, column[u]) > 0.5
        still = kernel_failed(xp, {params}, {state}, {exogenous}, dt_h)
        put(p_mw, u, xp.where(out, 0.0, get(p_mw, u)))
        put(q_mvar, u, xp.where(out, 0.0, get(q_mvar, u)))
{after}
"""

_ACCOUNT = """
{compiled}


@c_function(types.void(n_, r_, i_, r_, r_, r_, r_, r_, r_, r_, r_, f_, r_, r_, r_, r_))
def account(
    n, numbers, places, before, state, p_mw, q_mvar, now, v_pu, measured_mw, prices, dt_h, money, settled, violation,
    readings,
):
    for u in range(n):
        params, here, injection = {params}, {state}, Injection(get(p_mw, u), get(q_mvar, u))
        exogenous = {exogenous}
{calls}
"""

_RELAY = """
taken = compiled(steps_taken)
kernel_moved = compiled(KERNEL.moved)
kernel_ratio = compiled(KERNEL.ratio)
kernel_wanted = compiled(KERNEL.wanted_steps)


@c_function(types.void(n_, r_, r_, r_, r_, r_))
def move(n, numbers, state, upstream, wanted, ratio):
    for u in range(n):
        upstream_wants = fill(0.0)
        for other in range(n):
            upstream_wants += xp.abs(get(wanted, other)) * upstream[other * n + u]
        new = kernel_moved(xp, {state}, taken(xp, get(wanted, u), upstream_wants))
        put(ratio, u, kernel_ratio({params}, new))
{moved}


@c_function(types.void(n_, r_, r_, r_, i_, r_, r_))
def want(n, numbers, state, v_pu, relay_bus, allowed, wanted):
    for u in range(n):
        put(wanted, u, kernel_wanted(xp, {params}, {state}, get(v_pu, relay_bus[u]), allowed[u]))
"""


def _source(kernel: Any, kinds: tuple[str, ...], readings: int, settles: bool, lanes: int, fails: bool = False) -> str:
    """Text of a family's module."""
    params = tuple_of("Params", [f"numbers[{j} * n + u]" for j in range(len(kernel.Params._fields))])
    state = record_of("State", kernel.State, "state")
    p_fields, s_fields, c_fields = (len(kind._fields) for kind in (kernel.Params, kernel.State, kernel.Command))
    command = tuple_of(
        "Command",
        [commanded(j, p_fields) for j in range(c_fields)],
    )
    vector = {"series": "now", "v_pu": "v_pu", "p_branch_mw": "measured_mw"}
    exogenous = tuple_of(
        "Exogenous", [f"get({vector[kind]}, places[{c_fields + j} * n + u])" for j, kind in enumerate(kinds)]
    )
    text = _HEAD.format(name=kernel.__name__, rows="ONE" if lanes == 1 else "MANY")
    if kernel.role != "meter":
        after = store_of("new", s_fields, "after")
        text += _STEP.format(params=params, state=state, command=command, exogenous=exogenous, after=after)
    if fails:
        kept = [
            f"        put(after, {j} * n + u, xp.where(out, still[{j}], get(after, {j} * n + u)))"
            for j in range(s_fields)
        ]
        text += _FAILED.format(params=params, state=state, exogenous=exogenous, after="\n".join(kept))
    blocks = (
        ("money", len(kernel.money_names), "xp, params, here, injection, exogenous, dt_h"),
        ("violation", len(kernel.violation_names), "xp, params, here, injection, exogenous, dt_h"),
        ("readings", readings, "xp, params, here, injection"),
    )
    used = [(name, count, given) for name, count, given in blocks if count]
    calls = [f"        found = kernel_{name}({given})\n{store_of('found', count, name)}" for name, count, given in used]
    names = [name for name, _, _ in used]
    if settles:
        price = f"get(prices, places[{c_fields + len(kinds)} * n + u])"
        earlier = record_of("State", kernel.State, "before")
        names.append("worth")
        calls.append(
            f"        price = {price}\n"
            f"        held = kernel_worth(xp, params, {earlier}, price)\n"
            f"        put(settled, u, held - kernel_worth(xp, params, here, price))"
        )
    if calls:
        text += _ACCOUNT.format(
            compiled="\n".join(f"kernel_{name} = compiled(KERNEL.{name})" for name in names),
            params=params,
            state=state,
            exogenous=exogenous,
            calls="\n".join(calls),
        )
    if kernel.role == "tap":
        text += _RELAY.format(params=params, state=state, moved=store_of("new", s_fields, "state"))
    return text


def tuple_of(name: str, parts: list[str]) -> str:
    """A named tuple of expressions; a kind without fields becomes the empty tuple, which kernels never look into."""
    return f"{name}({', '.join(parts)})" if parts else "()"


def commanded(j: int, params: int) -> str:
    """Expression of field `j` of one unit's command, of a family with so many parameters: of its slot, or idle."""
    return f"(get(physical, places[{j} * n + u]) if places[{j} * n + u] >= 0 else fill(numbers[{params + j} * n + u]))"


def record_of(name: str, kind: Any, block: str) -> str:
    """Expression of one unit's named tuple, whose fields lie one after the other in a block."""
    return tuple_of(name, [f"get({block}, {j} * n + u)" for j in range(len(kind._fields))])


def store_of(value: str, count: int, block: str) -> str:
    """Lines that store a tuple's fields into a block."""
    lines = [f"        put({block}, {j} * n + u, {value}[{j}])" for j in range(count)]
    return "\n".join(lines)


# -- compiling and keeping -----------------------------------------------------------------------------------------


INSTEAD: dict[Any, Any] = {}
"""Compiled functions that stand for plain ones which tell NumPy from JAX."""


@cache
def compiled(function: FunctionType) -> Any:
    """A kernel, and every plain function it calls, as numba functions."""
    if function in INSTEAD:
        return INSTEAD[function]
    if function.__closure__:
        raise NotCompilableError(f"{function.__qualname__} holds variables of the function around it")
    names = {**function.__globals__}
    for name in _names(function.__code__):
        if isinstance(names.get(name), FunctionType):
            names[name] = compiled(names[name])
    twin = FunctionType(function.__code__, names, function.__name__, function.__defaults__)
    return _part(twin)


_part = machine_code.part(error_model="numpy", nogil=True)


def c_function(signature: Any) -> Any:
    """A loop of a written module as a C function."""
    return machine_code.c_function(signature, error_model="numpy", nogil=True)


def _load(kernel: Any, source: str, names: tuple[str, ...], folder: Path, also: Mapping[str, Any]) -> ModuleType:
    """Write the module unless it is there as it should be, and import it with its kernels in place."""
    name = f"{kernel.__name__}_{_fingerprint(kernel, source, names)}"
    path = folder / f"{name}.py"
    if not path.exists() or path.read_bytes() != source.encode():
        write_whole(path, lambda file: file.write(source.encode()))
    module = ModuleType(f"powergrid_{name}")
    module.__file__, module.KERNEL = str(path), kernel  # type: ignore[attr-defined]
    vars(module).update(also)
    sys.modules[module.__name__] = module  # numba finds the environment of what it kept by the module's name
    exec(compile(source, str(path), "exec"), vars(module))  # not what the file says: it may be another's by now
    return module


@cache
def _folder() -> Path:
    """Folder of the written modules: the user's cache, or one for this process where that cannot be written."""
    folder = user_cache_path("powergrid") / "kernels"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return _own_folder()


def _own_folder() -> Path:
    """A fresh folder that nobody else can write, gone when this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="powergrid-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _fingerprint(kernel: Any, source: str, names: tuple[str, ...]) -> str:
    """Hash over the kernels, everything they refer to, and the versions that compile them."""
    digest = hashlib.sha256(source.encode())
    digest.update(f"{numba.__version__} {np.__version__} {platform.python_version()} {platform.machine()}".encode())
    own = (Path(__file__).with_name(name) for name in ("vector_types.py", "array_types.py", "rows.py"))
    digest.update(machine_code.stamp(*own).encode())
    columns = (getattr(kernel, name, ()) for name in ("Params", "State", "Command", "Exogenous"))
    digest.update(repr([getattr(kind, "_fields", ()) for kind in columns]).encode())
    seen: set[Any] = set()
    rule: Any = steps_taken
    _digest(digest, rule, seen)
    for name in names:
        if isinstance(getattr(kernel, name, None), FunctionType):
            _digest(digest, getattr(kernel, name), seen)
    return digest.hexdigest()[:16]


def _digest(digest: Any, function: FunctionType, seen: set[Any]) -> None:
    if function in seen:
        return
    seen.add(function)
    for code in _codes(function.__code__):
        constants = [constant for constant in code.co_consts if not isinstance(constant, CodeType)]
        digest.update(code.co_code + repr((constants, code.co_names, code.co_varnames)).encode())
    digest.update(repr(function.__defaults__).encode())
    for name in sorted(_names(function.__code__)):
        value: Any = function.__globals__.get(name)
        if isinstance(value, FunctionType):
            _digest(digest, value, seen)
        elif isinstance(value, ModuleType) and not value.__name__.startswith("powergrid."):
            held = {part: getattr(value, part) for part in sorted(_names(function.__code__)) if hasattr(value, part)}
            digest.update("".join(f"{part}={found!r}" for part, found in held.items() if _plain(found)).encode())
        elif _plain(value):
            digest.update(f"{name}={value!r}".encode())
        elif hasattr(value, "_fields"):
            digest.update(f"{name}{value._fields}".encode())


def _plain(value: Any) -> bool:
    return isinstance(value, (bool, int, float, str, tuple))


def _codes(code: CodeType) -> list[CodeType]:
    """A code object and those inside it."""
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return [code, *(found for constant in inner for found in _codes(constant))]


def _names(code: CodeType) -> set[str]:
    return {name for part in _codes(code) for name in part.co_names}
