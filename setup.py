"""Build hook: writes the gRPC stubs and lists the packages of three source roots.

Everything declarative is in pyproject.toml. Two things cannot be said there:
the stubs of proto/ are not committed, so every build makes them first; and
setuptools' finder takes one root, while holdfast lies in clients/ and engine
and server at the top.
"""

import subprocess
import sys
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent


def write_stubs() -> None:
    """Writes clients/holdfast/v1 from proto/, unless it is newer than its sources."""
    subprocess.run([sys.executable, str(HERE / "proto" / "generate.py")], check=True, cwd=HERE)


write_stubs()

setup(
    packages=[
        *find_packages(str(HERE), include=["engine", "engine.*", "server", "server.*"]),
        *find_packages(str(HERE / "clients"), include=["holdfast", "holdfast.*"]),
    ],
    py_modules=["holdfast_script"],
    package_dir={"": "clients", "engine": "engine", "server": "server"},
)
