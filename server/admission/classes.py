"""The classes of work, most urgent first, and how much of the limit each may fill.

Confirming and cancelling free what others wait for, so nothing else may keep them out. What comes
next is about orders that exist; then selling; then reading; and what is late without harm is last.
"""

from __future__ import annotations

import enum
from typing import Final


class WorkClass(enum.IntEnum):
    """A class of work; a smaller number is more urgent."""

    SETTLE = 0  # confirm, cancel
    EXTEND = 1  # extend, fulfil, return
    RESERVE = 2  # create, revise, reassign
    ROUTE = 3  # plans
    READ = 4  # get, list, query
    REPORT = 5  # adjustments, counts, network data


CLASS_NAMES: Final = tuple(item.name.lower() for item in WorkClass)

# A class is let in while all work under way fills less than its share of the limit. What lies
# above a class's share is out of its reach, and left for the more urgent ones.
CLASS_SHARES: Final = (1.0, 0.95, 0.85, 0.75, 0.65, 0.5)
