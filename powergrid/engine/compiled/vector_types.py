"""The kernels' vocabulary for compiled loops: what NumPy does with arrays, one number or several lanes at a time.

A *lanes* value holds one number of each of several environments as one vector of the processor. Device kernels and the
loops around them are written once; with lanes in place of floats the same source advances all those environments in
the time of one. Each lane does the same IEEE operations in the same order whatever the number of lanes, so that an
environment has the same bits alone and in a batch. Floats and lanes mix freely; a float then stands in every lane.

Device kernels receive this module as ``xp``. NaN travels as in NumPy: a minimum with NaN is NaN.
"""

# mypy: disallow-untyped-defs=False

from __future__ import annotations

import builtins
import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, lower_builtin, lower_cast, models, register_model, type_callable

import powergrid.core.symbols  # noqa: F401  (names of what is compiled here)
from powergrid.core.machine_code import part

_plain = part(error_model="numpy", nogil=True)


class LanesType(types.Type):
    """Numbers of `count` environments."""

    def __init__(self, count: int):
        self.count = count
        super().__init__(name=f"Lanes({count})")


class MaskType(types.Type):
    """Truth values of `count` environments."""

    def __init__(self, count: int):
        self.count = count
        super().__init__(name=f"Mask({count})")


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: LanesType):
        super().__init__(manager, kind, ir.VectorType(ir.DoubleType(), kind.count))


@register_model(MaskType)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: MaskType):
        super().__init__(manager, kind, ir.VectorType(ir.IntType(1), kind.count))


def _common(*kinds: Any) -> Any:
    """Type that a word works on: lanes if any argument has them, else float64; ``None`` for anything but numbers."""
    wide = [kind for kind in kinds if isinstance(kind, (LanesType, MaskType))]
    rest = [kind for kind in kinds if not isinstance(kind, (LanesType, MaskType))]
    if not all(isinstance(types.unliteral(kind), (types.Number, types.Boolean)) for kind in rest):
        return None
    return LanesType(wide[0].count) if wide else types.float64


def _truth(kind: Any) -> Any:
    """Type of a comparison of numbers of that type."""
    return MaskType(kind.count) if isinstance(kind, LanesType) else types.boolean


def _everywhere(builder: Any, value: Any, count: int) -> Any:
    """A scalar in every lane."""
    empty = ir.Constant(ir.VectorType(value.type, count), ir.Undefined)
    one = builder.insert_element(empty, value, ir.IntType(32)(0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), count), [0] * count)
    return builder.shuffle_vector(one, empty, zeros)


@lower_cast(types.Float, LanesType)
@lower_cast(types.Integer, LanesType)
@lower_cast(types.Boolean, LanesType)
def _float_to_lanes(context: Any, builder: Any, given: Any, wanted: Any, value: Any) -> Any:
    return _everywhere(builder, context.cast(builder, value, given, types.float64), wanted.count)


@lower_cast(MaskType, LanesType)
def _mask_to_lanes(context: Any, builder: Any, given: Any, wanted: Any, value: Any) -> Any:
    ones, zeros = (
        ir.Constant(ir.VectorType(ir.DoubleType(), wanted.count), [number] * wanted.count) for number in (1.0, 0.0)
    )
    return builder.select(value, ones, zeros)  # one instruction, where a conversion takes several


@lower_cast(types.Boolean, MaskType)
def _truth_to_mask(context: Any, builder: Any, given: Any, wanted: Any, value: Any) -> Any:
    return _everywhere(builder, value, wanted.count)


# -- operators -----------------------------------------------------------------------------------------------------


def _operator(function: Any, write: Callable, *, result: Callable = lambda kind: kind, unary: bool = False) -> None:
    """Teach numba a Python operator on lanes; `write(builder, *values)` makes the instructions."""

    @type_callable(function)
    def typed(context: Any) -> Any:
        def one(a: Any) -> Any:
            return result(_common(a)) if isinstance(a, (LanesType, MaskType)) else None

        def two(a: Any, b: Any) -> Any:
            kind = _common(a, b)
            return result(kind) if isinstance(kind, LanesType) else None

        return one if unary else two

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = _common(*signature.args)
        values = [
            context.cast(builder, value, given, kind) for value, given in zip(arguments, signature.args, strict=True)
        ]
        return write(builder, *values)

    wide = (LanesType, MaskType)
    patterns = [(a,) for a in wide] if unary else [(a, b) for a in (*wide, types.Any) for b in (*wide, types.Any)]
    for pattern in patterns:
        if any(part in wide for part in pattern):
            lower_builtin(function, *pattern)(lower)


def _compare(sign: str) -> Callable:
    compare = "fcmp_unordered" if sign == "!=" else "fcmp_ordered"
    return lambda builder, a, b: getattr(builder, compare)(sign, a, b)


for _names, _instruction in (
    ((operator.add, operator.iadd), "fadd"), ((operator.sub, operator.isub), "fsub"),
    ((operator.mul, operator.imul), "fmul"), ((operator.truediv, operator.itruediv), "fdiv"),
):  # fmt: skip
    for _function in _names:
        _operator(_function, lambda builder, a, b, name=_instruction: getattr(builder, name)(a, b))
_operator(operator.pow, lambda builder, a, b: _by_lane(builder, "pow", a, b))
_operator(operator.neg, lambda builder, a: builder.fneg(a), unary=True)
_operator(operator.pos, lambda builder, a: a, unary=True)
_operator(builtins.abs, lambda builder, a: _call(builder, "fabs", a), unary=True)
for _sign, _function in (
    ("<", operator.lt), ("<=", operator.le), (">", operator.gt), (">=", operator.ge), ("==", operator.eq),
    ("!=", operator.ne),
):  # fmt: skip
    _operator(_function, _compare(_sign), result=_truth)


def _logic(function: Any, write: Callable) -> None:
    """Teach numba an operator on truth values."""

    @type_callable(function)
    def typed(context: Any) -> Any:
        def two(a: Any, b: Any) -> Any:
            if not all(isinstance(kind, (MaskType, types.Boolean)) for kind in (a, b)):
                return None
            return next((kind for kind in (a, b) if isinstance(kind, MaskType)), None)

        return two

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pairs = zip(arguments, signature.args, strict=True)
        return write(builder, *(context.cast(builder, value, given, signature.return_type) for value, given in pairs))

    for pattern in ((MaskType, MaskType), (MaskType, types.Boolean), (types.Boolean, MaskType)):
        lower_builtin(function, *pattern)(lower)


_logic(operator.and_, lambda builder, a, b: builder.and_(a, b))
_logic(operator.or_, lambda builder, a, b: builder.or_(a, b))


@type_callable(operator.invert)
def _invert_type(context: Any) -> Any:
    return lambda a: a if isinstance(a, MaskType) else None


@lower_builtin(operator.invert, MaskType)
def _invert(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return builder.not_(arguments[0])


# -- words ---------------------------------------------------------------------------------------------------------


def _call(builder: Any, name: str, *values: Any) -> Any:
    """An LLVM intrinsic, lane by lane."""
    kind = values[0].type
    suffix = f"v{kind.count}f64" if isinstance(kind, ir.VectorType) else "f64"
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(kind, [kind] * len(values)), f"llvm.{name}.{suffix}"
    )
    return builder.call(function, values)


def _by_lane(builder: Any, name: str, *values: Any) -> Any:
    """A function of the C library, called for one lane after the other so that it cannot matter how many there are."""
    kind = values[0].type
    if not isinstance(kind, ir.VectorType):
        return _call(builder, name, *values)
    found = ir.Constant(kind, ir.Undefined)
    for lane in range(kind.count):
        at = ir.IntType(32)(lane)
        one = _call(builder, name, *(builder.extract_element(value, at) for value in values))
        found = builder.insert_element(found, one, at)
    return found


def _extreme(builder: Any, sign: str, a: Any, b: Any) -> Any:
    """The processor's own minimum or maximum, which takes `a` where either is NaN, and `b` where that is."""
    either = builder.select(builder.fcmp_ordered(sign, b, a), b, a)
    return builder.select(builder.fcmp_unordered("uno", b, b), b, either)


def _word(write: Callable, arguments: int) -> Any:
    """A word of one or two numbers."""

    def typed(*kinds: Any) -> Any:
        kind = _common(*kinds)
        if kind is None:
            return None
        return kind(*[kind] * len(kinds)), lambda context, builder, signature, values: write(builder, *values)

    def one(typingctx, a):
        return typed(a)

    def two(typingctx, a, b):
        return typed(a, b)

    return intrinsic(one if arguments == 1 else two)


minimum = _word(lambda builder, a, b: _extreme(builder, "<", a, b), 2)
"""Smaller of two numbers, NaN if either is."""
maximum = _word(lambda builder, a, b: _extreme(builder, ">", a, b), 2)
"""Larger of two numbers, NaN if either is."""
abs = _word(lambda builder, a: _call(builder, "fabs", a), 1)
"""Magnitude."""
sqrt = _word(lambda builder, a: _call(builder, "sqrt", a), 1)
"""Square root, NaN below zero."""
floor = _word(lambda builder, a: _call(builder, "floor", a), 1)
"""Largest whole number not above."""
_nearest = _word(lambda builder, a: _call(builder, "rint", a), 1)
exp = _word(lambda builder, a: _by_lane(builder, "exp", a), 1)
"""Exponential."""
log = _word(lambda builder, a: _by_lane(builder, "log", a), 1)
"""Natural logarithm."""
sin = _word(lambda builder, a: _by_lane(builder, "sin", a), 1)
"""Sine of an angle [rad]."""
cos = _word(lambda builder, a: _by_lane(builder, "cos", a), 1)
"""Cosine of an angle [rad]."""


@intrinsic
def where(typingctx, condition, a, b):
    """`a` where `condition` holds, else `b`."""
    kind = _common(condition, a, b)
    if kind is None or not isinstance(condition, (MaskType, types.Boolean)):
        return None
    truth = condition if isinstance(condition, MaskType) else types.boolean

    def generate(context, builder, signature, arguments):
        return builder.select(*arguments)

    return kind(truth, kind, kind), generate


@_plain
def round(a, decimals=0):
    """Nearest multiple of ``10^-decimals``, halves to even, in NumPy's order of operations."""
    scale = 10.0**decimals
    return _nearest(a * scale) / scale


@intrinsic
def logical_not(typingctx, a):
    """Opposite."""
    if not isinstance(a, (MaskType, types.Boolean)):
        return None
    kind = a if isinstance(a, MaskType) else types.boolean
    return kind(kind), lambda context, builder, signature, values: builder.not_(values[0])


@_plain
def logical_and(a, b):
    """Whether both hold."""
    return a & b


@_plain
def logical_or(a, b):
    """Whether one holds."""
    return a | b
