"""`View`: many arrays of whole numbers behind one pointer, as the kernels see them.

The same idea as `engine.view`, with one difference: the extents of an array are read from the
block and are no part of its type, so one compiled kernel serves problems of every size. Passed one
by one, the arrays would be hundreds of machine words at every call between kernels, and minutes of
compiling.

Where a call takes many views, `Views` puts them behind one pointer in turn.

Every `@kernel` of this folder takes ``p``, the problem's view, and ``w``, the working memory's.

Invariants
1. The arrays live as long as the `View` and are never reallocated.
2. The block holds (address, three extents) for each field, in order; the arrays are 64-bit,
   C-contiguous, of one to three dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.typing.templates import AttributeTemplate
from numba.extending import (
    infer_getattr,
    lower_getattr_generic,
    register_model,
    typeof_impl,
    unbox,
)
from numba.np.arrayobj import populate_array
from numpy.typing import NDArray

from engine.view import PointerModel, unbox_pointer

_WORDS = 4


class ViewType(types.Type):
    """numba's type of `View`: the names and dimensions of its arrays, in order."""

    def __init__(self, fields: tuple[tuple[str, int], ...]) -> None:
        self.fields = fields
        super().__init__(name="View(" + ", ".join(f"{name}{n}" for name, n in fields) + ")")

    @property
    def key(self) -> Any:
        return self.fields


class View:
    """Arrays behind one pointer."""

    def __init__(self, arrays: Mapping[str, NDArray[np.int64]]) -> None:
        self.arrays = dict(arrays)
        block = np.zeros((len(self.arrays), _WORDS), np.int64)
        for place, (name, array) in enumerate(self.arrays.items()):
            if array.dtype != np.int64 or not array.flags.c_contiguous or array.ndim >= _WORDS:
                raise ValueError(f"{name!r} is not a contiguous array of 64-bit numbers")
            block[place, 0] = array.__array_interface__["data"][0]
            block[place, 1 : 1 + array.ndim] = array.shape
        self.block = block
        self.address = int(block.__array_interface__["data"][0])
        self._numba_type_ = _type_of(
            tuple((name, array.ndim) for name, array in self.arrays.items())
        )


_TYPES: dict[Any, ViewType] = {}


def _type_of(fields: tuple[tuple[str, int], ...]) -> ViewType:
    """One type object for all views of one kind, so that a call need not compare fields."""
    return _TYPES.setdefault(fields, ViewType(fields))


register_model(ViewType)(PointerModel)
unbox(ViewType)(unbox_pointer)


@typeof_impl.register(View)
def _typeof_view(value: View, context: Any) -> ViewType:
    return value._numba_type_


class ViewsType(types.Type):
    """numba's type of `Views`: the names and types of its members, in order."""

    def __init__(self, members: tuple[tuple[str, types.Type], ...]) -> None:
        self.members = members
        super().__init__(name="Views(" + ", ".join(f"{name}: {one}" for name, one in members) + ")")

    @property
    def key(self) -> Any:
        return self.members


class Views:
    """Several views, or a ledger's tables, behind one pointer: a kernel that takes ``k`` reads
    ``k.p``. Each object that is handed to a kernel costs 0.7 us, and this is one of them."""

    def __init__(self, **members: Any) -> None:
        self._places = {name: place for place, name in enumerate(members)}
        self._members = dict(members)
        self._block = np.array([member.address for member in members.values()], np.int64)
        self.address = int(self._block.__array_interface__["data"][0])
        kinds = tuple((name, member._numba_type_) for name, member in members.items())
        self._numba_type_ = _VIEWS.setdefault(kinds, ViewsType(kinds))

    def put(self, name: str, member: Any) -> None:
        """Another one of the same type in its place. Raises ValueError for one of another type."""
        if member is self._members[name]:
            return
        if member._numba_type_ is not self._members[name]._numba_type_:
            raise ValueError(f"{name!r} would be of another type")
        self._members[name] = member
        self._block[self._places[name]] = member.address


_VIEWS: dict[Any, ViewsType] = {}
register_model(ViewsType)(PointerModel)
unbox(ViewsType)(unbox_pointer)


@typeof_impl.register(Views)
def _typeof_views(value: Views, context: Any) -> ViewsType:
    return value._numba_type_


@infer_getattr
class _ViewsAttributes(AttributeTemplate):
    key = ViewsType

    def generic_resolve(  # type: ignore[override]
        self, typ: ViewsType, attr: str
    ) -> Any:
        return dict(typ.members).get(attr)


@lower_getattr_generic(ViewsType)
def _lower_member(context: Any, builder: Any, typ: ViewsType, value: Any, attr: str) -> Any:
    place = [name for name, _ in typ.members].index(attr)
    word = ir.IntType(64)
    address = builder.load(builder.gep(value, [ir.Constant(word, place)]))
    return builder.inttoptr(address, word.as_pointer())


@infer_getattr
class _ViewAttributes(AttributeTemplate):
    key = ViewType

    def generic_resolve(  # type: ignore[override]
        self, typ: ViewType, attr: str
    ) -> Any:
        for name, dimensions in typ.fields:
            if name == attr:
                return types.Array(types.int64, dimensions, "C")
        return None


@lower_getattr_generic(ViewType)
def _lower_attribute(context: Any, builder: Any, typ: ViewType, value: Any, attr: str) -> Any:
    place = [name for name, _ in typ.fields].index(attr)
    dimensions = typ.fields[place][1]
    word = ir.IntType(64)

    def read(offset: int) -> Any:
        return builder.load(builder.gep(value, [ir.Constant(word, _WORDS * place + offset)]))

    address = read(0)
    shape = [read(1 + dimension) for dimension in range(dimensions)]
    step: Any = ir.Constant(word, 8)
    strides = [step]
    for extent in reversed(shape[1:]):
        step = builder.mul(step, extent)
        strides.insert(0, step)
    array = context.make_array(types.Array(types.int64, dimensions, "C"))(context, builder)
    populate_array(
        array,
        data=builder.inttoptr(address, array.data.type),
        shape=shape,
        strides=strides,
        itemsize=ir.Constant(word, 8),
        meminfo=None,
    )
    return array._getvalue()
