"""``_replace`` of named tuples in compiled kernels, which numba does not have."""

from __future__ import annotations

from inspect import Parameter
from typing import Any

from numba import types
from numba.core.extending import lower_builtin
from numba.core.imputils import impl_ret_borrowed
from numba.core.typing import signature
from numba.core.typing.templates import AbstractTemplate, AttributeTemplate, infer_getattr
from numba.core.utils import pySignature


class _Replace(AbstractTemplate):
    """A named tuple with other values in some fields, which the call names."""

    key = "powergrid.named_tuple._replace"
    this: Any

    def generic(self, args: Any, kws: Any) -> Any:
        """Type of the result; of the arguments, one per field, those that stay are none."""
        own = self.this
        if args or not set(kws) <= set(own.fields):
            return None
        given = {name: types.unliteral(kind) for name, kind in kws.items()}
        kinds = [given.get(name, kind) for name, kind in zip(own.fields, own.types, strict=True)]
        made = types.BaseTuple.from_types(kinds, own.instance_class)
        found = signature(made, *(given.get(name, types.none) for name in own.fields))
        names = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=None) for name in own.fields]
        return found.replace(pysig=pySignature(names), recvr=own)


@infer_getattr
class _NamedTuple(AttributeTemplate):
    key = types.BaseNamedTuple

    def resolve__replace(self, own: Any) -> Any:
        """The method."""
        return types.BoundFunction(_Replace, own)


@lower_builtin(_Replace.key, types.BaseNamedTuple, types.VarArg(types.Any))
def _replaced(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    own, *given = arguments
    values = [
        builder.extract_value(own, k) if kind == types.none else given[k] for k, kind in enumerate(signature.args[1:])
    ]
    made = context.make_tuple(builder, signature.return_type, values)
    return impl_ret_borrowed(context, builder, signature.return_type, made)
