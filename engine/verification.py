"""Recompute every balance while the ledger works on: a pass in small steps, exact at each of them.

`engine.invariants.differences` reads the whole ledger in one moment. Here the same sums are built
up a few thousand rows at a time, and between the steps commands are applied. What they change is
caught up with before anything is compared, from two logs the ledger keeps anyway:

- `stamped` names every reservation whose takes or state changed. For each reservation read so far
  the pass keeps what it added to the sums; a changed one is taken out of them and read again.
- The movements are a ring that is written in order. New ones are added to the sums. One that is
  overwritten moves into its position's `movement_base`; it was noted before, so that it is
  counted once, whether the pass read the slot or the base first.

Fences are found once and summed where they are compared; the other numbers of a position need
nothing but the position.

Invariants
1. Once caught up, `held`, `committed` and `on_hand` of a pass are what its sources say now, for
   all reservations, movements and bases read so far. So no change that commands make between two
   steps can look like a difference.
2. A pass changes nothing of the ledger.
3. A pass that fell behind a log (`is_lost`) reports nothing.

Callers: `server.application.verifier`, between two batches.
"""

from __future__ import annotations

import mmap
from typing import Any, Final

import numpy as np

from engine import outcomes, tables
from engine.compiled import Integer, kernel
from engine.invariants import Difference
from engine.limits import differences_per_verify_max
from engine.positions import available
from engine.state import State
from engine.view import Tables

HELD = outcomes.HELD
CONFIRMED = outcomes.CONFIRMED
_ALL = np.int64(1) << np.int64(62)
FIELDS: Final = ("held", "committed", "fenced", "on_hand", "withheld", "available")
_HELD, _COMMITTED, _FENCED, _ON_HAND, _WITHHELD, _AVAILABLE = range(6)

# Movements about to be overwritten that are noted ahead: as many may be written between two steps.
_NOTED_MAX = 1 << 17

_PROGRESS = np.dtype(
    [
        (name, "i8")
        for name in (
            "reservations_read",  # rows; all of them once the end was reached
            "bases_read",  # rows of positions; likewise
            "movements_read",  # sequence before which the kept ones are counted
            "compared",  # rows of positions
            "fences_found",  # rows of positions looked at
            "stamped_seen",  # changes of reservations caught up with
            "movement_first",  # movements written before the pass began
            "movement_oldest",  # the oldest of them that was kept then
            "movement_seen",  # movements caught up with
            "entry_high",
            "entry_free",  # head of the chain of free entries, plus 1
            "difference_count",
            "lost",
        )
    ]
)
_SUMS = np.dtype([("held", "i8"), ("committed", "i8"), ("on_hand", "i8")])
# What a reservation added to the sums: one entry for each take that holds units.
_ENTRY = np.dtype([("position", "i4"), ("held", "i4"), ("committed", "i4"), ("next", "i4")])
_NOTE = np.dtype([("position", "i4"), ("delta", "i4")])
_DIFFERENCE = np.dtype(
    [("position", "i4"), ("field", "i4"), ("stored", "i8"), ("recomputed", "i8")]
)


# Pages given back at once: about a millisecond.
_RELEASED_BYTES = 4 << 20


def _pages(rows: int, dtype: np.dtype[Any]) -> mmap.mmap:
    """Zeros in pages of their own, so that none is touched before its turn: numpy's may come from
    memory that was used before, and are then written at once, tens of milliseconds for a table."""
    return mmap.mmap(-1, rows * dtype.itemsize, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


@kernel
def _note_ahead(st: Any, pa: Any, first: int, stop: int) -> None:
    """Note the movements of these sequences, which are overwritten next."""
    mask = st.movements.shape[0] - 1
    begin: Integer = max(pa.progress[0].movement_oldest, first)
    for sequence in range(begin, min(stop, st.meta[0].movement_next)):
        note = pa.notes[sequence & (pa.notes.shape[0] - 1)]
        movement = st.movements[sequence & mask]
        note.position = movement.position
        note.delta = movement.delta


@kernel
def _begin(st: Any, pa: Any) -> None:
    written = st.meta[0].movement_next
    kept = st.movements.shape[0]
    progress = pa.progress[0]
    progress.stamped_seen = st.stamped_count[0]
    progress.movement_first = written
    progress.movement_seen = written
    progress.movement_oldest = st.meta[0].movement_oldest
    progress.movements_read = progress.movement_oldest
    _note_ahead(st, pa, written - kept, written - kept + pa.notes.shape[0])


@kernel
def _take_out(pa: Any, row: int) -> None:
    """Take what this reservation added out of the sums again."""
    progress = pa.progress[0]
    at = np.int64(pa.first_entry[row])
    while at > 0:
        entry = pa.entries[at - 1]
        pa.sums[entry.position].held -= entry.held
        pa.sums[entry.position].committed -= entry.committed
        following = np.int64(entry.next)
        entry.next = progress.entry_free
        progress.entry_free = at
        at = following
    pa.first_entry[row] = 0


@kernel
def _add(st: Any, pa: Any, row: int) -> None:
    """Add what this reservation holds now to the sums."""
    progress = pa.progress[0]
    state = st.reservations[row].state
    if state != HELD and state != CONFIRMED:
        return
    take_row = np.int64(st.reservations[row].first_take)
    while take_row >= 0:
        take = st.takes[take_row]
        if take.quantity != 0:
            at = progress.entry_free
            if at > 0:
                progress.entry_free = np.int64(pa.entries[at - 1].next)
            elif progress.entry_high < pa.entries.shape[0]:
                progress.entry_high += 1
                at = progress.entry_high
            else:
                # Entries of reservations that ended meanwhile are still to be given back.
                progress.lost = 1
                return
            entry = pa.entries[at - 1]
            entry.position = take.position
            entry.held = take.quantity if state == HELD else 0
            entry.committed = take.quantity if state == CONFIRMED else 0
            entry.next = pa.first_entry[row]
            pa.first_entry[row] = at
            pa.sums[take.position].held += entry.held
            pa.sums[take.position].committed += entry.committed
        take_row = np.int64(take.next)


@kernel
def _follow_reservations(st: Any, pa: Any, most: int) -> Integer:
    """Read up to `most` changed reservations again; how many more there are."""
    progress = pa.progress[0]
    count = st.stamped_count[0]
    kept = st.stamped.shape[0]
    if count - progress.stamped_seen > kept:
        progress.lost = 1
        return 0
    stop = min(count, progress.stamped_seen + most)
    for at in range(progress.stamped_seen, stop):
        row = np.int64(st.stamped[at & (kept - 1)])
        if row < progress.reservations_read:
            _take_out(pa, row)
            _add(st, pa, row)
    progress.stamped_seen = stop
    return count - stop


@kernel
def _follow_movements(st: Any, pa: Any) -> None:
    """Count the movements written since the last step, and those they overwrote."""
    progress = pa.progress[0]
    written = st.meta[0].movement_next
    seen = progress.movement_seen
    kept = st.movements.shape[0]
    noted = pa.notes.shape[0]
    if written - seen > noted:
        progress.lost = 1
        return
    for sequence in range(seen, written):
        movement = st.movements[sequence & (kept - 1)]
        pa.sums[movement.position].on_hand += movement.delta
        forgotten = sequence - kept
        if forgotten < progress.movement_oldest:
            continue  # the ring was not full
        note = pa.notes[forgotten & (noted - 1)]
        is_counted = forgotten >= progress.movement_first or forgotten < progress.movements_read
        is_base_read = note.position < progress.bases_read
        if is_counted and not is_base_read:
            pa.sums[note.position].on_hand -= note.delta
        elif is_base_read and not is_counted:
            pa.sums[note.position].on_hand += note.delta
    progress.movement_seen = written
    _note_ahead(st, pa, seen - kept + noted, written - kept + noted)


@kernel
def _find_fences(st: Any, pa: Any) -> None:
    """Chain the fences among the positions made since the last step to their stock."""
    progress = pa.progress[0]
    # The first step of a pass finds none: positions are looked at as their bases are read.
    count = min(st.meta[0].position_count, progress.bases_read)
    for row in range(progress.fences_found, count):
        position = st.positions[row]
        if position.kind == tables.FENCE:
            pa.next_fence[row] = pa.first_fence[position.link]
            pa.first_fence[position.link] = row + 1
    progress.fences_found = max(count, progress.fences_found)


@kernel
def _read_on(st: Any, pa: Any, rows: int) -> None:
    """Read the next `rows` rows of whatever is read next."""
    meta = st.meta[0]
    progress = pa.progress[0]
    if progress.bases_read < _ALL:
        # First, as it goes through the sums in order: reservations then find their pages made.
        start = progress.bases_read
        stop = min(start + rows, meta.position_count)
        for row in range(start, stop):
            pa.sums[row].on_hand += st.withheld[row].movement_base
        progress.bases_read = stop
        _find_fences(st, pa)
        if stop == meta.position_count:
            progress.bases_read = _ALL
    elif progress.reservations_read < _ALL:
        start = progress.reservations_read
        stop = min(start + rows, meta.reservation_high)
        for row in range(start, stop):
            _add(st, pa, row)
        progress.reservations_read = _ALL if stop == meta.reservation_high else stop
    else:
        start = progress.movements_read
        stop = min(start + rows, progress.movement_first)
        kept = st.movements.shape[0]
        for sequence in range(max(start, meta.movement_oldest), stop):
            movement = st.movements[sequence & (kept - 1)]
            pa.sums[movement.position].on_hand += movement.delta
        progress.movements_read = stop


@kernel
def _differs(pa: Any, row: int, field: int, stored: int, recomputed: int) -> None:
    progress = pa.progress[0]
    if progress.difference_count < pa.differences.shape[0]:
        difference = pa.differences[progress.difference_count]
        difference.position = row
        difference.field = field
        difference.stored = stored
        difference.recomputed = recomputed
    progress.difference_count += 1


@kernel
def _compare(st: Any, pa: Any, rows: int) -> bool:
    """Compare the next `rows` positions; whether none is left."""
    progress = pa.progress[0]
    stop = min(progress.compared + rows, st.meta[0].position_count)
    for row in range(progress.compared, stop):
        position = st.positions[row]
        buckets = st.withheld[row]
        if position.held != pa.sums[row].held:
            _differs(pa, row, _HELD, np.int64(position.held), pa.sums[row].held)
        if position.committed != pa.sums[row].committed:
            _differs(pa, row, _COMMITTED, np.int64(position.committed), pa.sums[row].committed)
        if position.kind == tables.STOCK:
            if position.on_hand != pa.sums[row].on_hand:
                _differs(pa, row, _ON_HAND, np.int64(position.on_hand), pa.sums[row].on_hand)
            fenced = np.int64(0)
            fence = np.int64(pa.first_fence[row])
            while fence > 0:
                fenced += max(np.int64(0), available(st, fence - 1))
                fence = np.int64(pa.next_fence[fence - 1])
            if position.fenced != fenced:
                _differs(pa, row, _FENCED, np.int64(position.fenced), fenced)
        withheld = np.int64(buckets.safety_stock) + buckets.damaged
        withheld += np.int64(buckets.quality_control) + buckets.frozen
        if position.withheld != withheld:
            _differs(pa, row, _WITHHELD, np.int64(position.withheld), withheld)
        free = available(st, row)
        if free < 0 and not position.flags & tables.SHORT:
            _differs(pa, row, _AVAILABLE, free, 0)
    progress.compared = stop
    return stop == st.meta[0].position_count


@kernel
def _step(st: Any, pa: Any, rows: int) -> bool:
    """See `Verification.step`."""
    progress = pa.progress[0]
    behind = _follow_reservations(st, pa, rows)
    _follow_movements(st, pa)
    _find_fences(st, pa)
    if progress.lost:
        return True
    if progress.movements_read < progress.movement_first or progress.reservations_read < _ALL:
        _read_on(st, pa, rows)
        return False
    # Only what is caught up with entirely may be compared.
    return _compare(st, pa, rows) if behind == 0 else False


class Verification:
    """One pass over one ledger, from its beginning to its differences.

    Memory while it lasts: 32 bytes a position, 4 a reservation, 16 a take that holds units.
    """

    _RELEASED = ("sums", "first_fence", "next_fence", "first_entry", "entries", "notes")

    def __init__(self, state: State) -> None:
        """Begin. O(movements noted ahead)."""
        c = state.capacity
        self._state = state
        self._ledger = state.tables
        shape: list[tuple[str, int, Any]] = [
            ("progress", 1, _PROGRESS),
            ("sums", c.positions, _SUMS),
            ("first_fence", c.positions, np.int32),  # plus 1; 0: none
            ("next_fence", c.positions, np.int32),
            ("first_entry", c.reservations, np.int32),
            ("entries", c.takes, _ENTRY),
            ("notes", min(c.movements, _NOTED_MAX), _NOTE),
            ("differences", differences_per_verify_max, _DIFFERENCE),
        ]
        kinds = {name: np.dtype(dtype) for name, _, dtype in shape}
        self._pages = {name: _pages(rows, kinds[name]) for name, rows, _ in shape}
        self._arrays = {
            name: np.frombuffer(pages, kinds[name]) for name, pages in self._pages.items()
        }
        self._tables = Tables(self._arrays)
        self._progress = self._arrays["progress"]
        self._releasing = 0
        self._released = 0
        _begin(self._ledger, self._tables)

    @property
    def state(self) -> State:
        """The ledger it reads."""
        return self._state

    @property
    def is_lost(self) -> bool:
        """Too much happened between two steps: begin another pass."""
        return bool(self._progress["lost"][0])

    def step(self, rows: int) -> bool:
        """Catch up, then read or compare up to `rows` more; whether the pass is over.

        To be called when no command is half applied. O(rows + movements since the last step).
        """
        if self._state.tables is not self._ledger:  # they were given other sizes
            self._progress["lost"] = 1
            return True
        return bool(_step(self._ledger, self._tables, rows))

    @property
    def behind(self) -> int:
        """Changes of reservations still to be caught up with."""
        logged = int(self._state.arrays["stamped_count"][0])
        return logged - int(self._progress["stamped_seen"][0])

    @property
    def positions_checked(self) -> int:
        """Positions compared so far."""
        return int(self._progress["compared"][0])

    @property
    def differences_total(self) -> int:
        """How many differences were found, those beyond what is kept too."""
        return int(self._progress["difference_count"][0])

    def differences(self) -> list[Difference]:
        """The differences found so far; at most `differences_per_verify_max`."""
        rows = self._arrays["differences"][: self.differences_total]
        return [
            Difference(
                int(row["position"]),
                FIELDS[row["field"]],
                int(row["stored"]),
                int(row["recomputed"]),
            )
            for row in rows
        ]

    def release(self) -> bool:
        """Give some of the memory back; whether all of it is. Only `differences` may follow.

        To let go of the object would give back all at once: a pause of many milliseconds.
        """
        pages = self._pages[self._RELEASED[self._releasing]]
        stop = min(len(pages), self._released + _RELEASED_BYTES)
        if stop > self._released and hasattr(pages, "madvise"):
            pages.madvise(mmap.MADV_DONTNEED, self._released, stop - self._released)
        self._released = stop
        if stop == len(pages):
            self._releasing, self._released = self._releasing + 1, 0
        return self._releasing == len(self._RELEASED)
