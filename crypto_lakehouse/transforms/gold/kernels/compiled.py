"""Compile plain loops over NumPy arrays to machine code with Numba, at their first call.

One loop replaces many passes of whole-array operations, and it releases the GIL so that other threads run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import wraps
from threading import Lock
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """The function in machine code, cached on disk for other processes if the cache folder is writable.

    Arithmetic follows IEEE 754 in the written order, division by zero included, like NumPy's. A compiled function
    cannot call another one and takes everything that it needs as arguments: its cache entry becomes invalid only when
    its own module or the fields of its named tuples change.
    """
    machine_code: list[Callable[..., Any]] = []
    compiling = Lock()

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if not machine_code:
            with compiling:
                if not machine_code:
                    machine_code.append(_machine_code(function, [*args, *kwargs.values()]))
        result: R = machine_code[0](*args, **kwargs)
        return result

    return call


def _machine_code(function: Callable[..., Any], given: Sequence[Any]) -> Callable[..., Any]:
    # Import here: Numba takes as long to import as the rest of the package, and many uses run no loop.
    import numba

    # Numba compiles field access to positions and does not track the definitions of named tuples, so a cached function
    # would not notice a change of their fields. Numba finds cache entries by the name of the function: add the fields.
    shapes = [(type(arg).__module__, type(arg).__qualname__, arg._fields) for arg in given if hasattr(arg, "_fields")]
    function.__qualname__ += f"-{hashlib.sha256(repr(shapes).encode()).hexdigest()[:16]}"
    try:
        return numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:
        # Neither the folder of the code nor that of the user is writable: compile again in each process.
        return numba.njit(nogil=True, error_model="numpy")(function)
