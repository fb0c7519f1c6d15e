"""A promise as it was decided, in bytes: the order, the plan, the command, and the whole problem.

The problem's arrays are kept, not what they were made from: stock, capacities and rates change, and
the same arrays give the same plan to the last unit and cent, whatever has changed since. The tariff
and the names of nodes and services are the same for thousands of decisions and are kept once, under
their digests.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.routing.problem import TERMS, Arrays, Problem
from engine.routing.tariff import Tariff
from engine.routing.view import View
from server.routing.kernels import packing

MAGIC: Final = b"HFD1"
HEAD: Final = struct.Struct("<4sQQQQqIqIIIIIII")
_SIZES: Final = 10
"""Where in the head the sizes of the parts begin."""

Integers = NDArray[np.int64]
Rulings = Sequence[str]
"""Rules that keep nodes and services out: see `rulings_of`."""

_LINES: Final = ("quantity", "unit_weight_g", "unit_volume_cm3", "carried_by", "group")
_NODES: Final = (
    *("node_open", "pick_capacity", "shipment_cost", "unit_cost", "distance", "priority"),
)
_NODES_LINES: Final = ("stock", "opportunity_cost")
_NODES_SERVICES: Final = ("zone", "service_open", "service_cost", "slots", "ready_day")


BY_WAVE: Final = 100
"""The strategy of a plan that a wave chose; others are those of `engine.routing.solver`."""


class Key(NamedTuple):
    """What a decision is found by: the caller's request, and what it asked for."""

    request: tuple[int, int]
    fingerprint: tuple[int, int]


class Decision(NamedTuple):
    """One decision. All bytes are messages of `holdfast.v1` but `command` and `problem`."""

    key: Key
    time_ms: int
    attempt: int
    """Times it was planned anew before."""
    revision: int
    """Of the ledger it was planned on."""
    strategy: int
    work_budget: int
    order: bytes
    """RoutingOrder, as it was planned, but for the carrier services that it was kept away from this
    one time."""
    reply: bytes
    """PromiseOrderResponse without what the ledger adds; empty where it was refused."""
    refusal: bytes
    """google.rpc.Status of a refusal that is final; else empty."""
    command: bytes
    """The CommandBatch with the one command that holds; sent again, it is answered the same."""
    problem: bytes
    """See `pack_problem`."""

    def to_bytes(self) -> bytes:
        """For the ledger to keep."""
        parts = (self.order, self.reply, self.refusal, self.command, self.problem)
        head = HEAD.pack(
            MAGIC,
            *self.key.request,
            *self.key.fingerprint,
            self.time_ms,
            self.attempt,
            self.revision,
            self.strategy,
            self.work_budget,
            *map(len, parts),
        )
        return b"".join((head, *parts))

    @staticmethod
    def from_bytes(body: bytes) -> Decision:
        """Read what `to_bytes` wrote. Raises ValueError for anything else."""
        fields = _unpacked(body)
        at = HEAD.size
        parts = []
        for size in fields[_SIZES:]:
            parts.append(body[at : at + size])
            at += size
        if at != len(body):
            raise ValueError(f"a decision of {len(body)} bytes announces {at}")
        key = Key((fields[1], fields[2]), (fields[3], fields[4]))
        time_ms, attempt, revision, strategy, work_budget = fields[5:_SIZES]
        order, reply, refusal, command, problem = parts
        return Decision(
            key=key,
            time_ms=time_ms,
            attempt=attempt,
            revision=revision,
            strategy=strategy,
            work_budget=work_budget,
            order=order,
            reply=reply,
            refusal=refusal,
            command=command,
            problem=problem,
        )


def index_of(body: bytes) -> tuple[int, tuple[int, int], bool]:
    """Only what an index needs of a decision: its time, its request, and whether it has a plan."""
    fields = _unpacked(body)
    return fields[5], (fields[1], fields[2]), fields[_SIZES + 1] > 0


def _unpacked(body: bytes) -> tuple[int, ...]:
    fields: tuple[int, ...] = HEAD.unpack_from(body)
    if fields[0] != MAGIC:  # type: ignore[comparison-overlap]
        raise ValueError(f"a decision of format {fields[0]!r}; this version reads {MAGIC!r}")
    return fields


@dataclass(frozen=True, slots=True)
class Names:
    """What the numbers of a kept problem stood for."""

    nodes: list[str]
    services: list[str]
    node_rules: dict[int, str]
    """By node, the rule that kept it out."""
    service_rules: dict[int, str]


def pack_tariff(tariff: Tariff) -> bytes:
    """A tariff as bytes; its digest is what problems name it by."""
    services, zones, steps = tariff.rate.shape
    arrays = (
        tariff.step_g,
        tariff.rate,
        tariff.co2e_g,
        tariff.charge,
        tariff.volume_divisor,
        tariff.parcels_max,
        tariff.transit_days,
        tariff.limit_step,
        tariff.limit_g,
    )
    shape = packing.SHAPE.pack(services, zones, steps, 0, 0, 0)
    return shape + zlib.compress(b"".join(array.tobytes() for array in arrays))


def unpack_tariff(packed: bytes) -> Tariff:
    """Read what `pack_tariff` wrote."""
    services, zones, steps, *_ = packing.SHAPE.unpack_from(packed)
    numbers = np.frombuffer(zlib.decompress(packed[packing.SHAPE.size :]), np.int64)
    cube = (services, zones, steps)
    shapes: tuple[tuple[int, ...], ...] = (
        *((steps,), cube, cube, cube, (services,), (services,)),
        *((services, zones), (services, zones), (services,)),
    )
    return Tariff(*_split(numbers, shapes))


def pack_directory(nodes: Sequence[str], services: Sequence[str]) -> bytes:
    """What the numbers of nodes and services stand for; kept once, under its digest."""
    return "\n".join(("\t".join(nodes), "\t".join(services))).encode()


def digest_of(packed: bytes) -> str:
    """The name a tariff or a directory is kept under."""
    return hashlib.blake2b(packed, digest_size=16).hexdigest()


def text_of(tariff: str, directory: str, rules: Rulings = ()) -> bytes:
    """The texts of a kept problem: digests of its tariff and directory, and rules."""
    return "\n".join((tariff, directory, *rules)).encode()


def pack_problem(
    view: View, nodes: Integers, room: Room, *, shape: tuple[int, int, int], text: bytes
) -> bytes:
    """A problem's arrays as compact columns, which takes a tenth of the time of compressing them,
    and no more bytes.

    `nodes`: (K,) its nodes' numbers in the directory. `shape`: (nodes, lines, services) in use of
    the view's arrays. `text`: see `text_of`.
    """
    out = room.of(packed_bytes_max(*shape) + len(text))
    size = packing.pack(view, nodes, np.frombuffer(text, np.uint8), out, 0)
    return out[:size].tobytes()


def packed_bytes_max(nodes: int, lines: int, services: int) -> int:
    """Most bytes of a packed problem of that size, without its text."""
    columns = len(_LINES) + len(_NODES) + 2 * lines + 5 * services + 2
    words = len(_LINES) * lines + (len(_NODES) + 1 + 2 * lines + 5 * services) * nodes + TERMS
    return packing.HEAD_BYTES + 9 * (words + columns)


class Room:
    """Memory to pack problems in; grows with the largest one."""

    def __init__(self) -> None:
        self._bytes = np.zeros(1 << 16, np.uint8)

    def of(self, most: int) -> NDArray[np.uint8]:
        """Enough for so many bytes."""
        if len(self._bytes) < most:
            self._bytes = np.zeros(most, np.uint8)
        return self._bytes


def parts_of(packed: bytes) -> tuple[str, str]:
    """Digests of a kept problem's tariff and of its directory; that is "" where it has its names
    itself, as versions before this one wrote them."""
    if packed.startswith(packing.MAGIC):
        lines = _text_of(packed[len(packing.MAGIC) :])
        return lines[0], lines[1]
    return _text_of(zlib.decompress(packed))[0], ""


def problem_of(body: bytes) -> bytes:
    """Only the kept problem of a decision; empty where it was refused."""
    size = _unpacked(body)[-1]
    return body[len(body) - size :] if size else b""


def unpack_stock(packed: bytes, directory: bytes) -> tuple[list[str], Integers]:
    """Only a kept problem's nodes, and (N, L) the units of its lines there; in a tenth of the time
    that `unpack_problem` takes. `directory`: as there."""
    if not packed.startswith(packing.MAGIC):
        return _compressed_stock(packed)
    nodes, lines, _, text_bytes, *_ = packing.SHAPE.unpack_from(packed, len(packing.MAGIC))
    columns = _Columns(packed, len(packing.MAGIC) + packing.SHAPE.size + text_bytes)
    numbers = columns.table(nodes, 1)[:, 0].tolist()
    columns.skip(lines, len(_LINES))
    columns.skip(nodes, len(_NODES))
    known = directory.decode().split("\n")[0].split("\t")
    return [known[number] for number in numbers], columns.table(nodes, lines)


def unpack_problem(packed: bytes, tariff: Tariff, directory: bytes) -> tuple[Problem, Names]:
    """Read what `pack_problem` wrote. `directory`: b"" where `parts_of` names none."""
    if not packed.startswith(packing.MAGIC):
        return _unpack_compressed(packed, tariff)
    whole = packed[len(packing.MAGIC) :]
    nodes, lines, services, text_bytes, *_ = packing.SHAPE.unpack_from(whole)
    _, _, *rules = _text_of(whole)
    node_names, service_names = directory.decode().split("\n")
    known = node_names.split("\t")
    columns = _Columns(whole, packing.SHAPE.size + text_bytes)
    numbers = columns.table(nodes, 1)[:, 0].tolist()
    fields = {
        **{name: columns.table(lines, 1)[:, 0] for name in _LINES},
        **{name: columns.table(nodes, 1)[:, 0] for name in _NODES},
        **{name: columns.table(nodes, lines) for name in _NODES_LINES},
        **{name: columns.table(nodes, services) for name in _NODES_SERVICES},
        "terms": columns.table(TERMS, 1)[:, 0],
    }
    columns.end()
    names = Names([known[number] for number in numbers], _split_names(service_names), {}, {})
    return _problem(tariff, fields), _with_rules(names, rules)


class _Columns:
    """Reads the columns that `server.routing.kernels.packing` wrote."""

    def __init__(self, whole: bytes, at: int) -> None:
        self._whole = whole
        self._at = at

    def table(self, rows: int, columns: int) -> Integers:
        """(rows, columns) of the next ones."""
        made = np.empty((rows, columns), np.int64)
        for column in range(columns):
            wide, width = divmod(self._whole[self._at], 16)
            self._at += 1
            least = int.from_bytes(self._take(wide), "little") - 1
            padded = np.zeros((rows, 8), np.uint8)
            if width:
                read = np.frombuffer(self._take(width * rows), np.uint8)
                padded[:, :width] = read.reshape(rows, width)
            made[:, column] = padded.view(np.int64)[:, 0] + least
        return made

    def skip(self, rows: int, columns: int) -> None:
        """Pass the next ones by."""
        for _ in range(columns):
            wide, width = divmod(self._whole[self._at], 16)
            self._at += 1 + wide + width * rows

    def end(self) -> None:
        """Raises ValueError where something is left over, or was missing."""
        if self._at != len(self._whole):
            raise ValueError(f"a problem of {len(self._whole)} bytes announces {self._at}")

    def _take(self, size: int) -> bytes:
        taken = self._whole[self._at : self._at + size]
        self._at += size
        return taken


def _problem(tariff: Tariff, fields: Mapping[str, Integers]) -> Problem:
    arrays = Arrays(
        **{name: np.ascontiguousarray(array) for name, array in fields.items()},
        step_g=tariff.step_g,
        charge=tariff.charge,
        volume_divisor=tariff.volume_divisor,
        parcels_max=tariff.parcels_max,
        transit_days=tariff.transit_days,
        limit_step=tariff.limit_step,
        limit_g=tariff.limit_g,
    )
    return Problem(tariff, arrays, View(arrays._asdict()))


def _split_names(text: str) -> list[str]:
    return text.split("\t") if text else []


def rulings_of(names: Names) -> Rulings:
    """The rules that keep nodes and services out, as lines of text."""
    return (
        *(f"n{number}\t{rule}" for number, rule in names.node_rules.items()),
        *(f"s{number}\t{rule}" for number, rule in names.service_rules.items()),
    )


def _with_rules(names: Names, rules: Sequence[str]) -> Names:
    for rule in rules:
        place, _, name = rule.partition("\t")
        kept = names.node_rules if place[0] == "n" else names.service_rules
        kept[int(place[1:])] = name
    return names


def _unpack_compressed(packed: bytes, tariff: Tariff) -> tuple[Problem, Names]:
    """A problem as version 1 of this format wrote it: journals still have some."""
    whole = zlib.decompress(packed)
    nodes, lines, services, text_bytes, *_ = packing.SHAPE.unpack_from(whole)
    _, node_names, service_names, *rules = _text_of(whole)
    numbers = np.frombuffer(whole, np.int64, offset=packing.SHAPE.size + text_bytes)
    shapes = (
        *((lines,) for _ in _LINES),
        *((nodes,) for _ in _NODES),
        *((nodes, lines) for _ in _NODES_LINES),
        *((nodes, services) for _ in _NODES_SERVICES),
        (TERMS,),
    )
    fields = (*_LINES, *_NODES, *_NODES_LINES, *_NODES_SERVICES, "terms")
    found = dict(zip(fields, _split(numbers, shapes), strict=True))
    names = Names(node_names.split("\t"), _split_names(service_names), {}, {})
    return _problem(tariff, found), _with_rules(names, rules)


def _compressed_stock(packed: bytes) -> tuple[list[str], Integers]:
    whole = zlib.decompress(packed)
    nodes, lines, _, text_bytes, *_ = packing.SHAPE.unpack_from(whole)
    numbers = np.frombuffer(whole, np.int64, offset=packing.SHAPE.size + text_bytes)
    at = len(_LINES) * lines + len(_NODES) * nodes
    stock = numbers[at : at + nodes * lines].reshape(nodes, lines)
    return _text_of(whole)[1].split("\t"), stock


def _text_of(whole: bytes) -> list[str]:
    text_bytes = packing.SHAPE.unpack_from(whole)[3]
    return whole[packing.SHAPE.size : packing.SHAPE.size + text_bytes].decode().split("\n")


def _split(
    numbers: NDArray[np.int64], shapes: tuple[tuple[int, ...], ...]
) -> list[NDArray[np.int64]]:
    arrays, at = [], 0
    for shape in shapes:
        size = int(np.prod(shape))
        arrays.append(numbers[at : at + size].reshape(shape).copy())
        at += size
    if at != len(numbers):
        raise ValueError(f"{len(numbers)} numbers are kept, {at} are announced")
    return arrays
