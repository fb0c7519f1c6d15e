"""`Tables`: all tables behind one pointer, as the kernels see them.

A kernel takes one argument ``st`` and writes ``st.positions[row].held``. The Python object holds
the arrays and a block of their addresses; for numba it is a pointer to that block, and reading an
attribute makes a view of the array without counting references. Measured against numba's own
struct references the same kernels run several times as fast, because those count references
atomically at every access; against passing arrays one by one a call costs microseconds less.

Invariants
1. The arrays live as long as the `Tables` object and are never reallocated.
2. The block holds (address, rows) for each of `fields`, in order.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import from_dtype, types
from numba.core import cgutils
from numba.core.typing.templates import AttributeTemplate
from numba.extending import (
    NativeValue,
    infer_getattr,
    lower_getattr_generic,
    models,
    register_model,
    typeof_impl,
    unbox,
)
from numpy.typing import NDArray


class TablesType(types.Type):
    """numba's type of `Tables`: the names and types of its arrays, in order."""

    def __init__(self, fields: tuple[tuple[str, Any, tuple[int, ...]], ...]) -> None:
        self.fields = fields
        super().__init__(name="Tables(" + ", ".join(f"{n}: {t}{s}" for n, t, s in fields) + ")")

    @property
    def key(self) -> Any:
        return self.fields


@cache
def _element_of(dtype: np.dtype[Any], dimensions: int) -> Any:
    """numba's type of an array; worked out once, it takes milliseconds for records."""
    return types.Array(from_dtype(dtype), dimensions, "C")


class Tables:
    """Arrays behind one pointer. Rows of two-dimensional arrays have a fixed width."""

    def __init__(self, arrays: dict[str, NDArray[Any]]) -> None:
        self.arrays = arrays
        block: list[int] = []
        fields: list[tuple[str, Any, tuple[int, ...]]] = []
        for name, array in arrays.items():
            if not array.flags.c_contiguous:
                raise ValueError(f"table {name!r} is not contiguous")
            block += [array.ctypes.data, array.shape[0]]
            fields.append((name, _element_of(array.dtype, array.ndim), array.shape[1:]))
        self.block = np.array(block, np.int64)
        self.address = int(self.block.ctypes.data)
        self._numba_type_ = _type_of(tuple(fields))


_TYPES: dict[Any, TablesType] = {}


def _type_of(fields: tuple[tuple[str, Any, tuple[int, ...]], ...]) -> TablesType:
    """One type object for all states, so that a call need not compare its fields."""
    return _TYPES.setdefault(fields, TablesType(fields))


@register_model(TablesType)
class PointerModel(models.PrimitiveModel):
    """How such an object is kept in compiled code: as a pointer to its block."""

    def __init__(self, dmm: Any, fe_type: types.Type) -> None:
        super().__init__(  # type: ignore[no-untyped-call]
            dmm, fe_type, ir.IntType(64).as_pointer()
        )


@typeof_impl.register(Tables)
def _typeof_tables(value: Tables, context: Any) -> TablesType:
    return value._numba_type_


@unbox(TablesType)
def unbox_pointer(typ: types.Type, obj: Any, c: Any) -> NativeValue:
    """Hand such an object to compiled code: the address of its block."""
    address = c.pyapi.object_getattr_string(obj, "address")
    number = c.pyapi.long_as_longlong(address)
    c.pyapi.decref(address)
    pointer = c.builder.inttoptr(number, ir.IntType(64).as_pointer())
    return NativeValue(pointer, is_error=cgutils.is_not_null(c.builder, c.pyapi.err_occurred()))


@infer_getattr
class _TablesAttributes(AttributeTemplate):
    key = TablesType

    def generic_resolve(  # type: ignore[override]
        self, typ: TablesType, attr: str
    ) -> Any:
        for name, element, _ in typ.fields:
            if name == attr:
                return element
        return None


@lower_getattr_generic(TablesType)
def _lower_attribute(context: Any, builder: Any, typ: TablesType, value: Any, attr: str) -> Any:
    place = [name for name, _, _ in typ.fields].index(attr)
    _, element, inner = typ.fields[place]
    word = ir.IntType(64)
    address = builder.load(builder.gep(value, [ir.Constant(word, 2 * place)]))
    rows = builder.load(builder.gep(value, [ir.Constant(word, 2 * place + 1)]))
    for read in (address, rows):
        # Nothing that a kernel writes can change the block: one look at it is enough.
        read.set_metadata("invariant.load", builder.module.add_metadata([]))
    array = context.make_array(element)(context, builder)
    itemsize = (
        element.dtype.size
        if isinstance(element.dtype, types.Record)
        else (element.dtype.bitwidth // 8)
    )
    shape = [rows] + [ir.Constant(word, extent) for extent in inner]
    strides: list[Any] = []
    step = itemsize
    for extent in reversed(inner):
        strides.insert(0, ir.Constant(word, step))
        step *= extent
    strides.insert(0, ir.Constant(word, step))
    from numba.np.arrayobj import populate_array

    populate_array(
        array,
        data=builder.inttoptr(address, array.data.type),
        shape=shape,
        strides=strides,
        itemsize=ir.Constant(word, itemsize),
        meminfo=None,
    )
    return array._getvalue()
