"""The genesis record: what a journal is and whose, written once before anything else.

Its hash is the first link of the chain, so records of one ledger cannot be spliced into another.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from engine.tables import FORMAT
from server.journal.errors import JournalMismatch
from server.journal.record import CHAIN_BYTES, Cursor, RecordId

FORMAT_VERSION: Final = FORMAT
"""Of new journals. 2: the rows of commands are narrow (`engine.narrow`). 3: the ledger keeps the
causes of movements from its beginning; an older one from a SET_FORMAT on (`engine.formats`)."""
_FORMATS_READ: Final = (1, 2, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalIdentity:
    """Whose journal is wanted. `ledger_id` None: any that is there, a new one in a new journal."""

    tenant: str = "default"
    shard: int = 0
    ledger_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Genesis:
    """Whose journal it is, and in which format its records are."""

    format_version: int
    ledger_id: str
    tenant: str
    shard: int

    def to_bytes(self) -> bytes:
        """Canonical JSON: the same genesis always gives the same bytes."""
        fields = {
            "format_version": self.format_version,
            "ledger_id": self.ledger_id,
            "shard": self.shard,
            "tenant": self.tenant,
        }
        return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()

    @staticmethod
    def from_bytes(buffer: bytes, *, place: str) -> Genesis:
        """Read what `to_bytes` wrote. Raises JournalMismatch when `buffer` is something else."""
        try:
            fields = json.loads(buffer)
            return Genesis(
                format_version=int(fields["format_version"]),
                ledger_id=str(fields["ledger_id"]),
                tenant=str(fields["tenant"]),
                shard=int(fields["shard"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise JournalMismatch(
                f"{place} does not begin with a Holdfast genesis record; point the journal "
                "setting at a Holdfast journal, or at a place that is still empty"
            ) from error

    @property
    def beginning(self) -> Cursor:
        """The cursor before the first record."""
        chain = blake2b(self.to_bytes(), digest_size=CHAIN_BYTES).digest()
        return Cursor(RecordId(0, 0), chain)

    @property
    def ledger_seed(self) -> int:
        """63 bits from the ledger's id: reservation ids made by two ledgers differ by it."""
        return int.from_bytes(blake2b(self.ledger_id.encode(), digest_size=8).digest()) >> 1

    def check(self, wanted: JournalIdentity, *, place: str) -> None:
        """Raise JournalMismatch unless this program may use the journal for `wanted`."""
        if self.format_version not in _FORMATS_READ:
            raise JournalMismatch(
                f"{place} is a journal of format {self.format_version}, this version reads "
                f"formats {', '.join(map(str, _FORMATS_READ))}; "
                "start it with the version of Holdfast that wrote it"
            )
        for name, found, asked in (
            ("tenant", self.tenant, wanted.tenant),
            ("shard", self.shard, wanted.shard),
            ("ledger", self.ledger_id, wanted.ledger_id or self.ledger_id),
        ):
            if found != asked:
                raise JournalMismatch(
                    f"{place} is the journal of {name} {found!r}, this server is configured for "
                    f"{name} {asked!r}; correct the {name} or the journal setting"
                )
