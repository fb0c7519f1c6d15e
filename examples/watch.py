"""Follows availability with asyncio: what a product page or a cache needs.

The watch comes back by itself after a break, with nothing missed and nothing twice.

python examples/watch.py SKU-1 SKU-2
"""

from __future__ import annotations

import asyncio
import sys

from holdfast import aio


async def follow(skus: list[str], events_max: int) -> None:
    async with aio.Client() as client, client.watch(skus, thresholds=[0, 5]) as events:
        seen = 0
        async for event in events:
            position = event.position
            print(f"{event.type}: {position.sku} at {position.node}: {position.available} left")
            seen += 1
            if seen == events_max:
                return


def main() -> None:
    events_max = 0  # go on for ever
    asyncio.run(follow(sys.argv[1:] or ["SKU-1"], events_max))


if __name__ == "__main__":
    main()
