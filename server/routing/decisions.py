"""A promise as it was decided, in bytes: the order, the plan, the command, and the whole problem.

The problem's arrays are kept, not what they were made from: stock, capacities and rates change, and
the same arrays give the same plan to the last unit and cent, whatever has changed since. The tariff
is the same for thousands of decisions and is kept once, under its digest.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.routing.problem import TERMS, Arrays, Problem
from engine.routing.tariff import Tariff
from engine.routing.view import View

_MAGIC: Final = b"HFD1"
_HEAD: Final = struct.Struct("<4sQQQQqIqIIIIIII")
_SIZES: Final = 10
"""Where in the head the sizes of the parts begin."""
_SHAPE: Final = struct.Struct("<IIIIII")
_LEVEL: Final = 1
"""Of compression: three times as small in 50 us."""

_LINES: Final = ("quantity", "unit_weight_g", "unit_volume_cm3", "carried_by", "group")
_NODES: Final = (
    *("node_open", "pick_capacity", "shipment_cost", "unit_cost", "distance", "priority"),
)
_NODES_LINES: Final = ("stock", "opportunity_cost")
_NODES_SERVICES: Final = ("zone", "service_open", "service_cost", "slots", "ready_day")


class Key(NamedTuple):
    """What a decision is found by: the caller's request, and what it asked for."""

    request: tuple[int, int]
    fingerprint: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Decision:
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
    """RoutingOrder, as it was planned."""
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
        head = _HEAD.pack(
            _MAGIC,
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
        at = _HEAD.size
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
    fields: tuple[int, ...] = _HEAD.unpack_from(body)
    if fields[0] != _MAGIC:  # type: ignore[comparison-overlap]
        raise ValueError(f"a decision of format {fields[0]!r}; this version reads {_MAGIC!r}")
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
    shape = _SHAPE.pack(services, zones, steps, 0, 0, 0)
    return shape + zlib.compress(b"".join(array.tobytes() for array in arrays))


def tariff_digest(packed: bytes) -> str:
    """The name a tariff is kept under."""
    return hashlib.blake2b(packed, digest_size=16).hexdigest()


def unpack_tariff(packed: bytes) -> Tariff:
    """Read what `pack_tariff` wrote."""
    services, zones, steps, *_ = _SHAPE.unpack_from(packed)
    numbers = np.frombuffer(zlib.decompress(packed[_SHAPE.size :]), np.int64)
    cube = (services, zones, steps)
    shapes: tuple[tuple[int, ...], ...] = (
        *((steps,), cube, cube, cube, (services,), (services,)),
        *((services, zones), (services, zones), (services,)),
    )
    return Tariff(*_split(numbers, shapes))


def pack_problem(problem: Problem, tariff: str, names: Names) -> bytes:
    """A problem without its tariff, which is named by its digest."""
    a = problem.arrays
    nodes, lines = a.stock.shape
    services = a.zone.shape[1]
    fields = (*_LINES, *_NODES, *_NODES_LINES, *_NODES_SERVICES, "terms")
    words = [getattr(a, field).tobytes() for field in fields]
    text = "\n".join(
        (
            tariff,
            "\t".join(names.nodes),
            "\t".join(names.services),
            *(f"n{number}\t{rule}" for number, rule in names.node_rules.items()),
            *(f"s{number}\t{rule}" for number, rule in names.service_rules.items()),
        )
    ).encode()
    shape = _SHAPE.pack(nodes, lines, services, len(text), 0, 0)
    return zlib.compress(b"".join((shape, text, *words)), _LEVEL)


def tariff_of(packed: bytes) -> str:
    """The digest of a kept problem's tariff."""
    return _text_of(zlib.decompress(packed))[0]


def unpack_problem(packed: bytes, tariff: Tariff) -> tuple[Problem, Names]:
    """Read what `pack_problem` wrote."""
    whole = zlib.decompress(packed)
    nodes, lines, services, text_bytes, *_ = _SHAPE.unpack_from(whole)
    _, node_names, service_names, *rules = _text_of(whole)
    numbers = np.frombuffer(whole, np.int64, offset=_SHAPE.size + text_bytes)
    shapes = (
        *((lines,) for _ in _LINES),
        *((nodes,) for _ in _NODES),
        *((nodes, lines) for _ in _NODES_LINES),
        *((nodes, services) for _ in _NODES_SERVICES),
        (TERMS,),
    )
    fields = (*_LINES, *_NODES, *_NODES_LINES, *_NODES_SERVICES, "terms")
    arrays = Arrays(
        **dict(zip(fields, _split(numbers, shapes), strict=True)),
        step_g=tariff.step_g,
        charge=tariff.charge,
        volume_divisor=tariff.volume_divisor,
        parcels_max=tariff.parcels_max,
        transit_days=tariff.transit_days,
        limit_step=tariff.limit_step,
        limit_g=tariff.limit_g,
    )
    named = Names(node_names.split("\t"), service_names.split("\t"), {}, {})
    for rule in rules:
        place, _, name = rule.partition("\t")
        kept = named.node_rules if place[0] == "n" else named.service_rules
        kept[int(place[1:])] = name
    return Problem(tariff, arrays, View(arrays._asdict())), named


def _text_of(whole: bytes) -> list[str]:
    text_bytes = _SHAPE.unpack_from(whole)[3]
    return whole[_SHAPE.size : _SHAPE.size + text_bytes].decode().split("\n")


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
