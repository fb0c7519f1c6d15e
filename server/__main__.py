"""``python -m server``: read the configuration, serve until told to stop."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from server.config import ConfigError, load


def main(arguments: Sequence[str] | None = None, *, program: str = "python -m server") -> int:
    """The program; its exit status. 2: the configuration is refused, and stderr says why."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        config = load(given, os.environ, program=program)
    except ConfigError as refused:
        for problem in refused.problems:
            sys.stderr.write(f"{program}: {problem}\n")
        return 2
    from server.lifecycle import serve  # after the flags: it loads the engine's kernels

    return serve(config)


if __name__ == "__main__":
    sys.exit(main())
