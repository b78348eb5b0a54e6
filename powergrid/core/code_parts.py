"""Functions that only other compiled functions call are translated, not finished.

numba optimises each function fully and makes machine code of it, and then does both once more in each function that
calls it, and in that one's callers. Functions that Python never calls need neither: they are optimised where they are
inlined. That halves the time that LLVM takes for a step, and leaves its machine code as fast.

The result type of an operator for given argument types is looked up once: numba tries a dozen rules, of arrays, dates,
lists and so on, at each place that adds two numbers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from numba.core import types as all_types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.targetconfig import ConfigStack
from numba.core.typed_passes import NativeLowering

types: Any = all_types
_PLAIN = (types.Number, types.Boolean, types.Array, types.BaseTuple, types.Literal, types.NoneType, types.SliceType)
"""Types of arguments for which a function gives the same type at every place."""


class _WithoutEnvironments:
    """numba's code generator, which finds no place for the environment of what has no machine code."""

    def __init__(self, codegen: Any):
        self._own = codegen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def set_env(self, name: str, environment: Any) -> None:
        """Nothing to do."""


class _Part(JITCodeLibrary):
    """Code to be linked into other code, without machine code of its own."""

    @property
    def codegen(self) -> Any:
        """The code generator."""
        return _WithoutEnvironments(self._codegen)

    def _optimize_final_module(self) -> None:
        passes, builder = self._codegen._module_pass_manager(
            loop_vectorize=False, slp_vectorize=False, opt=0, cost="cheap"
        )
        passes.run(self._final_module, builder)

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """Zero: there is no machine code."""
        self._ensure_finalized()
        return 0


@register_pass(mutates_CFG=True, analysis_only=False)
class _PartLowering(NativeLowering):
    """numba's lowering, into a :class:`_Part`."""

    _name = "part_lowering"

    def run_pass(self, state: Any) -> bool:
        state.library = _Part(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        return bool(super().run_pass(state))


class Parts(CompilerBase):
    """numba's pipeline with the last step replaced; for ``njit(pipeline_class=...)``."""

    def define_pipelines(self) -> list[Any]:
        """The passes."""
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.passes = [(_PartLowering if step is NativeLowering else step, told) for step, told in passes.passes]
        passes._finalized = False
        passes.finalize()
        return [passes]


@contextlib.contextmanager
def rules_looked_up_once() -> Iterator[None]:
    """Within, the type of a call of one of numba's own functions with plain arguments is worked out once."""
    own = types.BaseFunction.get_call_type
    found: dict[Any, Any] = {}

    def get_call_type(self: Any, context: Any, args: tuple[Any, ...], kws: Any) -> Any:
        flags = ConfigStack.top_or_none()
        if kws or flags is None or not all(isinstance(kind, _PLAIN) for kind in args):
            return own(self, context, args, kws)
        key = (id(self), id(context), args, flags.nrt, flags.error_model)
        if key not in found:
            found[key] = own(self, context, args, kws), self, context  # kept alive, so that their ids stay unique
        return found[key][0]

    types.BaseFunction.get_call_type = get_call_type
    try:
        yield
    finally:
        types.BaseFunction.get_call_type = own
