"""Arithmetic on rows of lanes: one complex number per scenario, scenarios side by side as SIMD vectors.

A row is ``2 * lanes`` numbers of a flat float64 array: all real parts, then all imaginary parts. Operations are written
as LLVM vectors of `lanes` numbers rather than as loops over lanes: a compiler that sees loops over rows of one array
must check before each that they do not overlap, which costs as much as the arithmetic. Each lane does the same IEEE
operations in the same order however many lanes there are, so a scenario has the same bits alone and in a batch.
"""

# mypy: disallow-untyped-defs=False

from __future__ import annotations

from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

MIN_V2 = 1e-4
"""Floor of ``|V|^2`` in ``S / V`` [pu^2], so that a collapsing iterate stays finite."""


class Operations(NamedTuple):
    """Operations on rows of `work`, each named by the place where it begins.

    Attributes
    ----------
    lanes
        Scenarios side by side.
    current
        ``(work, into, v, s)``: ``into = -conj(s / v)``, the current injected by a load.
    drawn
        ``(work, into, v, s, step)``: ``into = s + |v| s_i + |v|^2 s_z``, with `s_i` and `s_z` one and two `step` on.
    add, difference
        ``(work, into, a)``: ``into += a``; ``(work, into, a, b)``: ``into = a - b``.
    subtract
        ``(work, into, a, re, im)``: ``into -= (re + j im) a``.
    scale
        ``(work, into, a, re, im)``: ``into = (re + j im) a``.
    subtract_product, product
        ``(work, into, a, b)``: ``into -= a b``, ``into = a b``.
    settle
        ``(work, v, x, state)``: move the lanes of `v` that are live to `x`, and raise ``change`` to how far they move.
        `state` begins with `lanes` numbers ``change``, then `lanes` numbers ``live``, above zero for true.
    settle_scaled
        ``(work, v, x, state, other, d_re, d_im, re, im)``: the same with ``d x - (re + j im) other`` in place of `x`.
    weigh
        ``(work, into, weight)``: multiply by real numbers, by lane.
    magnitude
        ``(work, into, a, total)``: ``into = |a|`` in real numbers by lane, also added to `total`.
    loading
        ``(work, into, a, factor)``: raise real numbers by lane to ``factor |a|``.
    dissipate
        ``(work, into, a, b)``: add the real part of ``a conj(b)`` to real numbers by lane.
    reciprocal
        ``(work, into, a)``: ``into = 1 / a``.
    """

    lanes: int
    current: Any
    drawn: Any
    add: Any
    difference: Any
    subtract: Any
    scale: Any
    subtract_product: Any
    product: Any
    settle: Any
    settle_scaled: Any
    weigh: Any
    magnitude: Any
    loading: Any
    dissipate: Any
    reciprocal: Any


class _Rows:
    """LLVM instructions on rows: loads, stores, and lane by lane arithmetic."""

    def __init__(self, lanes: int, context: Any, builder: Any, work_type: Any, work: Any):
        self.builder, self.lanes = builder, lanes
        self.data = context.make_array(work_type)(context, builder, work).data
        self.vector = ir.VectorType(ir.DoubleType(), lanes)

    def _pointer(self, at: Any) -> Any:
        return self.builder.bitcast(self.builder.gep(self.data, [at]), self.vector.as_pointer())

    def half(self, at: Any) -> Any:
        """`lanes` numbers from one place on."""
        return self.builder.load(self._pointer(at), align=8)

    def put_half(self, at: Any, value: Any) -> None:
        self.builder.store(value, self._pointer(at), align=8)

    def behind(self, at: Any, halves: int = 1) -> Any:
        """The place so many vectors further on."""
        return self.builder.add(at, ir.Constant(at.type, halves * self.lanes))

    def load(self, at: Any) -> tuple[Any, Any]:
        """Real and imaginary parts of a row."""
        return self.half(at), self.half(self.behind(at))

    def store(self, at: Any, re: Any, im: Any) -> None:
        self.put_half(at, re)
        self.put_half(self.behind(at), im)

    def number(self, value: float) -> Any:
        """A constant in every lane."""
        return ir.Constant(self.vector, [value] * self.lanes)

    def everywhere(self, value: Any) -> Any:
        """A scalar in every lane."""
        one = self.builder.insert_element(ir.Constant(self.vector, ir.Undefined), value, ir.IntType(32)(0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(one, ir.Constant(self.vector, ir.Undefined), zeros)

    def call(self, name: str, *values: Any) -> Any:
        """An LLVM intrinsic, such as ``fma`` or ``sqrt``, lane by lane."""
        kind = ir.FunctionType(self.vector, [self.vector] * len(values))
        function = cgutils.get_or_insert_function(self.builder.module, kind, f"llvm.{name}.v{self.lanes}f64")
        return self.builder.call(function, values)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        """``a b + c``, rounded once."""
        return self.call("fma", a, b, c)

    def negative(self, a: Any) -> Any:
        return self.builder.fneg(a)

    def square(self, re: Any, im: Any) -> Any:
        return self.fma(re, re, self.builder.fmul(im, im))

    def larger(self, a: Any, b: Any) -> Any:
        """`b` where it is larger, else `a`."""
        return self.builder.select(self.builder.fcmp_ordered(">", b, a), b, a)

    def times(self, a: tuple[Any, Any], b: tuple[Any, Any]) -> tuple[Any, Any]:
        """Complex product."""
        re = self.fma(a[0], b[0], self.negative(self.builder.fmul(a[1], b[1])))
        return re, self.fma(a[0], b[1], self.builder.fmul(a[1], b[0]))

    def minus_times(self, c: tuple[Any, Any], a: tuple[Any, Any], b: tuple[Any, Any]) -> tuple[Any, Any]:
        """Complex ``c - a b``."""
        minus = self.negative(a[0])
        re = self.fma(minus, b[0], self.fma(a[1], b[1], c[0]))
        return re, self.fma(minus, b[1], self.fma(self.negative(a[1]), b[0], c[1]))

    def settle(self, v: Any, x: tuple[Any, Any], state: Any) -> None:
        old, live = self.load(v), self.half(self.behind(state))
        moved = [self.call("fabs", self.builder.fsub(new, part)) for new, part in zip(x, old, strict=True)]
        self.put_half(state, self.larger(self.half(state), self.builder.fadd(*moved)))
        alive = self.builder.fcmp_ordered(">", live, self.number(0.0))
        self.store(v, *(self.builder.select(alive, new, part) for new, part in zip(x, old, strict=True)))


def _current(rows: _Rows, into: Any, v: Any, s: Any) -> None:
    (a, b), (p, q) = rows.load(v), rows.load(s)
    floor = rows.larger(rows.number(MIN_V2), rows.square(a, b))
    g = rows.builder.fdiv(rows.number(-1.0), floor)
    re = rows.fma(p, a, rows.builder.fmul(q, b))
    im = rows.fma(p, b, rows.negative(rows.builder.fmul(q, a)))
    rows.store(into, rows.builder.fmul(re, g), rows.builder.fmul(im, g))


def _drawn(rows: _Rows, into: Any, v: Any, s: Any, step: Any) -> None:
    square = rows.square(*rows.load(v))
    size, s_i = rows.call("sqrt", square), rows.builder.add(s, step)
    parts = zip(rows.load(s), rows.load(s_i), rows.load(rows.builder.add(s_i, step)), strict=True)
    rows.store(into, *(rows.fma(square, z, rows.fma(size, i, p)) for p, i, z in parts))


def _add(rows: _Rows, into: Any, a: Any) -> None:
    rows.store(into, *(rows.builder.fadd(x, y) for x, y in zip(rows.load(into), rows.load(a), strict=True)))


def _difference(rows: _Rows, into: Any, a: Any, b: Any) -> None:
    rows.store(into, *(rows.builder.fsub(x, y) for x, y in zip(rows.load(a), rows.load(b), strict=True)))


def _subtract(rows: _Rows, into: Any, a: Any, re: Any, im: Any) -> None:
    factor = rows.everywhere(re), rows.everywhere(im)
    rows.store(into, *rows.minus_times(rows.load(into), factor, rows.load(a)))


def _scale(rows: _Rows, into: Any, a: Any, re: Any, im: Any) -> None:
    rows.store(into, *rows.times((rows.everywhere(re), rows.everywhere(im)), rows.load(a)))


def _subtract_product(rows: _Rows, into: Any, a: Any, b: Any) -> None:
    rows.store(into, *rows.minus_times(rows.load(into), rows.load(a), rows.load(b)))


def _product(rows: _Rows, into: Any, a: Any, b: Any) -> None:
    rows.store(into, *rows.times(rows.load(a), rows.load(b)))


def _settle(rows: _Rows, v: Any, x: Any, state: Any) -> None:
    rows.settle(v, rows.load(x), state)


def _settle_scaled(rows: _Rows, v: Any, x: Any, state: Any, other: Any, d_re: Any, d_im: Any, re: Any, im: Any) -> None:
    scaled = rows.times((rows.everywhere(d_re), rows.everywhere(d_im)), rows.load(x))
    factor = rows.everywhere(re), rows.everywhere(im)
    rows.settle(v, rows.minus_times(scaled, factor, rows.load(other)), state)


def _weigh(rows: _Rows, into: Any, weight: Any) -> None:
    by = rows.half(weight)
    rows.store(into, *(rows.builder.fmul(part, by) for part in rows.load(into)))


def _magnitude(rows: _Rows, into: Any, a: Any, total: Any) -> None:
    size = rows.call("sqrt", rows.square(*rows.load(a)))
    rows.put_half(into, size)
    rows.put_half(total, rows.builder.fadd(rows.half(total), size))


def _loading(rows: _Rows, into: Any, a: Any, factor: Any) -> None:
    size = rows.call("sqrt", rows.square(*rows.load(a)))
    rows.put_half(into, rows.larger(rows.half(into), rows.builder.fmul(rows.everywhere(factor), size)))


def _dissipate(rows: _Rows, into: Any, a: Any, b: Any) -> None:
    (a_re, a_im), (b_re, b_im) = rows.load(a), rows.load(b)
    rows.put_half(into, rows.fma(a_re, b_re, rows.fma(a_im, b_im, rows.half(into))))


def _reciprocal(rows: _Rows, into: Any, a: Any) -> None:
    re, im = rows.load(a)
    size = rows.square(re, im)
    rows.store(into, rows.builder.fdiv(re, size), rows.builder.fdiv(rows.negative(im), size))


def operations(lanes: int) -> Operations:
    """Operations on rows of so many lanes, to be called from compiled code."""
    place, real = types.int64, types.float64
    kinds = {
        _current: (place,) * 3, _drawn: (place,) * 4, _add: (place,) * 2, _difference: (place,) * 3,
        _subtract: (place, place, real, real), _scale: (place, place, real, real),
        _subtract_product: (place,) * 3, _product: (place,) * 3, _settle: (place,) * 3,
        _settle_scaled: (place,) * 4 + (real,) * 4, _weigh: (place,) * 2, _magnitude: (place,) * 3,
        _loading: (place, place, real), _dissipate: (place,) * 3,
        _reciprocal: (place,) * 2,
    }  # fmt: skip
    return Operations(lanes, *(_compiled(lanes, body, kind) for body, kind in kinds.items()))


def _compiled(lanes: int, body: Any, kinds: tuple) -> Any:
    """An intrinsic ``(work, *arguments)`` whose instructions `body` writes."""

    def generate(context, builder, signature, arguments):
        work, *rest = arguments
        body(_Rows(lanes, context, builder, signature.args[0], work), *rest)
        return context.get_dummy_value()

    def with_2(typingctx, work, a, b):
        return types.void(work, *kinds), generate

    def with_3(typingctx, work, a, b, c):
        return types.void(work, *kinds), generate

    def with_4(typingctx, work, a, b, c, d):
        return types.void(work, *kinds), generate

    def with_8(typingctx, work, a, b, c, d, e, f, g, h):
        return types.void(work, *kinds), generate

    return intrinsic({2: with_2, 3: with_3, 4: with_4, 8: with_8}[len(kinds)])
