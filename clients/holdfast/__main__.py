"""``python -m holdfast``: the command line, where no script ``holdfast`` is on the PATH."""

from holdfast.cli import main

if __name__ == "__main__":
    main()
