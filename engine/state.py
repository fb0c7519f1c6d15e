"""The ledger's state: every table, how much room each has, and how to save and restore it.

`State` owns the arrays; the kernels get them as one `engine.view.Tables`. Nothing here decides
anything.

Invariants (checked by `engine.invariants`)
1. Arrays are never reallocated but by `resize`, which a server does before it serves (for other
   sizes, or another format); a view taken once stays valid.
2. The used part of every table, `meta` and the tables' sizes included, is all there is:
   `restore(sections())` gives a state with the same hash and the same future.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import commands, limits, outcomes, tables
from engine.tables import FORMAT
from engine.view import Tables

_ID_BYTES_MAX = 64
CHANGED_MAX = 1 << 20
SCRATCH_MAX = 4096
_CACHE_LINE = 64
# Answers one call of the kernel can give: commands, and what they say in detail. A command says at
# most eight things a line, and has a thousand besides (`engine.apply`).
OUTCOMES_HELD = 4096
DETAILS_HELD = 8 * limits.rows_per_ingest_chunk_max + 2048
STAMPED_KEPT = 1 << 18
# Rows of `cause_text` for each movement: 64 bytes. A part of the format, as `Capacity.first` is.
_CAUSE_ROWS_PER_MOVEMENT = 8
# What a state of KEEPS_CAUSES has besides the sections of every format.
_OF_CAUSES = ("format", "cause_text")


@dataclass(frozen=True, slots=True)
class Capacity:
    """Rows each table has room for. Unused rows cost address space, not memory."""

    positions: int = 1 << 22
    names: int = 1 << 22
    name_bytes: int = 1 << 27
    group_members: int = 1 << 18
    reservations: int = 1 << 21
    takes: int = 1 << 23
    supplies: int = 1 << 18
    requests: int = 1 << 21
    reply_details: int = 1 << 23
    movements: int = 1 << 21

    def __post_init__(self) -> None:
        for name in ("requests", "reply_details", "movements"):
            rows = getattr(self, name)
            if rows < 16 or rows & (rows - 1):
                raise ValueError(f"capacity.{name} is {rows}: a power of two from 16 on is needed")

    def numbers(self) -> NDArray[np.int64]:
        """The rows of each table in the order of the fields, for snapshots and commands."""
        return np.array(astuple(self), "<i8")

    @staticmethod
    def of(numbers: NDArray[np.int64]) -> Capacity:
        """What `numbers` gave. Raises ValueError when these are another version's tables."""
        names = [field.name for field in fields(Capacity)]
        if len(numbers) != len(names):
            raise ValueError(
                f"'capacity' has {len(numbers)} rows, this version has {len(names)} tables"
            )
        return Capacity(**dict(zip(names, numbers.tolist(), strict=True)))

    @staticmethod
    def first() -> Capacity:
        """What every ledger begins with, before its first RESIZE: it must never change, as old
        journals begin with it too."""
        return Capacity.small()

    @staticmethod
    def small() -> Capacity:
        """Room enough for a test, small enough to fill."""
        return Capacity(
            positions=1 << 14,
            names=1 << 14,
            name_bytes=1 << 18,
            group_members=1 << 10,
            reservations=1 << 12,
            takes=1 << 14,
            supplies=1 << 10,
            requests=1 << 13,
            reply_details=1 << 15,
            movements=1 << 14,
        )


def _slots(rows: int) -> int:
    """Slots of an index over `rows` rows: a power of two at least 1.5 times as many."""
    return 1 << max(4, (rows + rows // 2 - 1).bit_length())


def allocate(capacity: Capacity) -> dict[str, NDArray[Any]]:
    """Empty tables of these sizes, by name."""
    c = capacity
    shape: list[tuple[str, Any, Any]] = [
        ("meta", 1, tables.META),
        ("names", c.names, tables.NAME),
        ("name_text", c.name_bytes, np.uint8),
        ("name_index", _slots(c.names), np.uint64),
        ("group_members", c.group_members, np.int32),
        ("positions", c.positions, tables.POSITION),
        ("withheld", c.positions, tables.WITHHELD_ROW),
        ("position_index", _slots(c.positions), np.uint64),
        ("supplies", c.supplies, tables.SUPPLY_ROW),
        ("supply_index", _slots(c.supplies), np.uint64),
        ("reservations", c.reservations, tables.RESERVATION),
        ("id_text", (c.reservations, _ID_BYTES_MAX), np.uint8),
        ("owner_text", (c.reservations, _ID_BYTES_MAX), np.uint8),
        ("reservation_index", _slots(c.reservations), np.uint64),
        ("owner_index", _slots(c.reservations), np.uint64),
        ("takes", c.takes, tables.TAKE_ROW),
        ("heap", c.reservations, tables.HEAP),
        ("movements", c.movements, tables.MOVEMENT),
        # The references of movements in the formats before KEEPS_CAUSES; nothing since.
        ("movement_text", (c.movements, _ID_BYTES_MAX), np.uint8),
        ("format", 1, tables.FORMAT_ROW),
        (
            "cause_text",
            (c.movements * _CAUSE_ROWS_PER_MOVEMENT, tables.CAUSE_ROW_BYTES),
            np.uint8,
        ),
        ("running", 1, tables.RUNNING),
        ("reference", 2 * _ID_BYTES_MAX, np.uint8),
        ("requests", c.requests, tables.REQUEST),
        ("request_outcomes", c.requests, outcomes.OUTCOME),
        ("request_index", _slots(c.requests), np.uint64),
        ("reply_details", c.reply_details, outcomes.DETAIL),
        ("changed", CHANGED_MAX, np.int32),
        # Reservations in the order of their changes, a ring; how many changes there ever were.
        # No part of the state: a verification follows it while it runs.
        ("stamped", STAMPED_KEPT, np.int32),
        ("stamped_count", 1, np.int64),
        ("header", 1, commands.HEADER),
        ("line_rows", limits.rows_per_ingest_chunk_max, np.int32),
        ("line_moves", limits.rows_per_ingest_chunk_max, np.int64),
        ("scratch", SCRATCH_MAX, tables.SCRATCH),
    ]
    return {name: _zeros(size, np.dtype(dtype)) for name, size, dtype in shape}


def empty_like(table: NDArray[Any]) -> NDArray[Any]:
    """A table of the same shape without anything in it, which costs no memory."""
    return _zeros(table.shape, table.dtype)


def _zeros(shape: int | tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Zero pages that begin at a multiple of a cache line."""
    extents = shape if isinstance(shape, tuple) else (shape,)
    size = int(np.prod(extents)) * dtype.itemsize
    pages = np.zeros(size + _CACHE_LINE, np.uint8)
    first = -pages.ctypes.data % _CACHE_LINE
    return pages[first : first + size].view(dtype).reshape(extents)


class State:
    """One ledger: its arrays by name, and its documents."""

    def __init__(self, capacity: Capacity, arrays: dict[str, NDArray[Any]]) -> None:
        # What a call of the kernel works with besides the ledger: how far it came, its answers.
        self.cursor = np.zeros(7, np.int64)
        self.outcomes = _zeros(OUTCOMES_HELD, outcomes.OUTCOME)
        self.details = _zeros(DETAILS_HELD, outcomes.DETAIL)
        self.outcome_bytes = self.outcomes.view(np.uint8).data
        self.detail_bytes = self.details.view(np.uint8).data
        self.made_ahead = np.zeros(32, tables.MADE)
        self.documents: dict[tuple[int, str], tuple[bytes, int]] = {}
        self._own(capacity, arrays)

    def _own(self, capacity: Capacity, arrays: dict[str, NDArray[Any]]) -> None:
        self.capacity = capacity
        self.arrays = arrays
        self.meta = arrays["meta"]
        self.names = arrays["names"]
        self.name_text = arrays["name_text"]
        self.positions = arrays["positions"]
        self.withheld = arrays["withheld"]
        self.supplies = arrays["supplies"]
        self.reservations = arrays["reservations"]
        self.takes = arrays["takes"]
        self.movements = arrays["movements"]
        self.changed = arrays["changed"]
        self.tables = Tables(self.seen_by_kernels())

    def seen_by_kernels(self) -> dict[str, NDArray[Any]]:
        """All arrays that a kernel reaches through `tables`, by name."""
        call = {"cursor": self.cursor, "outcomes": self.outcomes, "details": self.details}
        return {**self.arrays, **call, "made_ahead": self.made_ahead}

    @staticmethod
    def create(
        capacity: Capacity | None = None, *, ledger_seed: int = 0, format_number: int = FORMAT
    ) -> State:
        """An empty ledger. `ledger_seed` keeps the ids made by two ledgers apart; `format_number`
        is that of the journal it begins."""
        capacity = capacity or Capacity()
        arrays = allocate(capacity)
        meta = arrays["meta"][0]
        meta["ledger_seed"] = ledger_seed
        if format_number >= tables.KEEPS_CAUSES:
            arrays["format"]["number"] = format_number
        for name in (
            "supply_free",
            "reservation_free",
            "take_free",
            "terminal_oldest",
            "terminal_newest",
            "pinned",
            "superseded",
        ):
            meta[name] = tables.NONE
        return State(capacity, arrays)

    @property
    def revision(self) -> int:
        """Sequence number of the last command applied."""
        return int(self.meta["revision"][0])

    @property
    def format_number(self) -> int:
        """What the state keeps; 0 stands for every format before `tables.KEEPS_CAUSES`."""
        return int(self.arrays["format"]["number"][0])

    @property
    def now_ms(self) -> int:
        """Ledger time in milliseconds; never goes back."""
        return int(self.meta["now_ms"][0])

    def used_rows(self) -> dict[str, int]:
        """Rows (from the first) of each table that hold something."""
        meta = self.meta[0]
        c = self.capacity
        account = self.arrays["format"][0]
        movements = min(int(meta["movement_next"]), c.movements)
        causes = {}
        if account["number"] >= tables.KEEPS_CAUSES:
            room = len(self.arrays["cause_text"])
            causes = {"format": 1, "cause_text": min(int(account["cause_next"]), room)}
        return {
            "meta": 1,
            "names": int(meta["name_count"]),
            "name_text": int(meta["name_bytes"]),
            "group_members": int(meta["group_member_count"]),
            "positions": int(meta["position_count"]),
            "withheld": int(meta["position_count"]),
            "supplies": int(meta["supply_count"]),
            "reservations": int(meta["reservation_high"]),
            "id_text": int(meta["reservation_high"]),
            "owner_text": int(meta["reservation_high"]),
            "takes": int(meta["take_high"]),
            "heap": int(meta["heap_count"]),
            "movements": movements,
            "movement_text": 0 if causes else movements,
            "requests": min(int(meta["request_next"]), c.requests),
            "request_outcomes": min(int(meta["request_next"]), c.requests),
            "reply_details": min(int(meta["detail_next"]), c.reply_details),
            **causes,
        }

    def sections(self) -> list[tuple[str, NDArray[Any]]]:
        """Views of the used part of every table in a fixed order; then the documents.

        Indices are not among them: they are rebuilt, and their layout is no part of the state.
        """
        sections: list[tuple[str, NDArray[Any]]] = [("capacity", self.capacity.numbers())]
        sections += [(name, self.arrays[name][:rows]) for name, rows in self.used_rows().items()]
        sections.append(("documents", self._documents_to_bytes()))
        return sections

    @staticmethod
    def restore(sections: Iterable[tuple[str, NDArray[Any]]]) -> State:
        """The state whose `sections` these are, with the table sizes it had.

        Raises ValueError when a section is unknown, missing, or not as large as its account says.
        """
        from engine.reindex import rebuild_indices

        saved = dict(sections)
        sizes = saved.pop("capacity", np.zeros(0, np.int64))
        # The sections say which format it has.
        state = State.create(Capacity.of(sizes), format_number=0)
        state._documents_from_bytes(saved.pop("documents", np.zeros(0, np.uint8)).tobytes())
        for name, rows in saved.items():
            if name not in state.arrays:
                raise ValueError(f"snapshot section {name!r} is unknown to this version")
            table = state.arrays[name]
            if rows.dtype != table.dtype:
                raise ValueError(f"snapshot section {name!r} has rows of another layout")
            if len(rows) > len(table):
                raise ValueError(
                    f"snapshot section {name!r} has {len(rows)} rows, capacity is {len(table)}"
                )
            table[: len(rows)] = rows.reshape((len(rows), *table.shape[1:]))
        used = state.used_rows()
        needed = set(used).union(_OF_CAUSES if not saved.keys().isdisjoint(_OF_CAUSES) else ())
        missing = needed - set(saved)
        if missing:
            raise ValueError(f"snapshot lacks the sections {sorted(missing)}")
        for name, rows_used in used.items():
            if rows_used != len(saved[name]):
                raise ValueError(
                    f"snapshot section {name!r} has {len(saved[name])} rows, "
                    f"{rows_used} are in use by its account"
                )
        rebuild_indices(state.tables)
        return state

    def resize(self, capacity: Capacity, arrays: dict[str, NDArray[Any]]) -> None:
        """Go on with these arrays, filled as `engine.resize` or `engine.formats` does it; views
        taken are void."""
        self._own(capacity, arrays)

    def _documents_to_bytes(self) -> NDArray[np.uint8]:
        parts = []
        for (kind, name), (body, revision) in sorted(self.documents.items()):
            text = name.encode()
            parts.append(struct.pack("<IIIQ", kind, len(text), len(body), revision))
            parts += [text, body]
        return np.frombuffer(b"".join(parts), np.uint8)

    def _documents_from_bytes(self, buffer: bytes) -> None:
        at = 0
        while at < len(buffer):
            kind, text_bytes, body_bytes, revision = struct.unpack_from("<IIIQ", buffer, at)
            at += 20
            name = buffer[at : at + text_bytes].decode()
            at += text_bytes
            self.documents[(kind, name)] = (buffer[at : at + body_bytes], revision)
            at += body_bytes
