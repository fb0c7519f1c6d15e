"""After the warm-up no call compiles: every kernel that Python calls has been called."""

from __future__ import annotations

import subprocess
import sys
import textwrap

_COLD_KERNELS = textwrap.dedent(
    """
    import importlib
    import pkgutil
    import sys

    import engine
    import server
    from numba.core.dispatcher import Dispatcher
    from server.transport.warmup import warm_up

    warm_up()
    for package in (engine, server):
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    kernels = {
        each
        for name, module in sys.modules.items()
        if name.startswith(("engine.", "server."))
        for each in vars(module).values()
        if isinstance(each, Dispatcher)
    }
    # Those that only kernels call are compiled within these.
    called = set()
    for kernel in kernels:
        around, names = kernel.py_func.__globals__, kernel.py_func.__code__.co_names
        known = [around[name] for name in names if name in around]
        known += [getattr(one, name, None) for one in known for name in names]
        called.update(one for one in known if isinstance(one, Dispatcher))
    for kernel in kernels - called:
        print("cold" if not kernel.signatures else "warm", kernel.py_func.__qualname__)
    """
)


def test_the_warm_up_calls_every_kernel_that_python_calls() -> None:
    # In a process of its own: other tests have called kernels in this one.
    told = subprocess.run(
        [sys.executable, "-c", _COLD_KERNELS], capture_output=True, text=True, check=True
    ).stdout.split("\n")
    assert "warm ruin_and_recreate" in told
    assert [line for line in told if line.startswith("cold")] == []
