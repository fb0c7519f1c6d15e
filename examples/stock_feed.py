"""A feed of stock counts from a system of your own, in chunks that are never applied twice.

Run it again with the same name after a crash, and it goes on where it stopped. For files there is
`holdfast load`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import holdfast


def counts() -> Iterator[holdfast.FeedChunk]:
    """Where your warehouse system comes in: at most 50,000 rows a chunk, as columns."""
    for shelf in range(4):
        skus = [f"SKU-{shelf * 2 + place}" for place in range(2)]
        # One node for all rows of the chunk; otherwise one for each.
        yield holdfast.FeedChunk(skus=skus, nodes=["WH-1"], quantities=[10, 20 + shelf])


def main() -> None:
    feed = sys.argv[1] if len(sys.argv) > 1 else "warehouse-1 2026-03-02"
    with holdfast.Client() as client:
        for result in client.ingest(feed, counts()):
            print(f"chunk {result.sequence}: {result.applied_rows} rows applied")
            for error in result.errors:  # bad rows; the good ones have landed
                print(f"  row {error.row}: {error.field} {error.value!r}: {error.message}")


if __name__ == "__main__":
    main()
