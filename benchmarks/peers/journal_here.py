"""`benchmarks.journal` in a process of its own; its last line is its figures."""

from __future__ import annotations

import json

from benchmarks import journal

if __name__ == "__main__":
    print(json.dumps(journal.run(print)))
