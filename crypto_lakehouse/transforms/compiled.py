"""Plain loops over NumPy arrays, compiled to machine code by Numba when they are first called.

Here belongs how they are compiled. A loop says what one row after the other means, which whole-array operations can
only say in many passes; other threads run meanwhile.
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
    """The function in machine code, kept on disk for the next process where a folder for that can be written.

    Arithmetic is that of IEEE 754 in the order that is written, division by zero included, as NumPy's is. One such
    function cannot call another, and has to take all that it needs as arguments: what is kept on disk is outdated only
    by a change of the function's own module, and of the fields of named tuples that it takes.
    """
    made: list[Callable[..., Any]] = []
    making = Lock()

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if not made:
            with making:
                if not made:
                    made.append(_machine_code(function, [*args, *kwargs.values()]))
        result: R = made[0](*args, **kwargs)
        return result

    return call


def _machine_code(function: Callable[..., Any], given: Sequence[Any]) -> Callable[..., Any]:
    # Here, because it takes as long to import as the rest of the package, which is also used without any loop.
    import numba

    # Columns are compiled to their places, and Numba does not look where named tuples come from: neither the order of
    # their fields nor their names would be known of what was kept. It finds that by the name of the function.
    shapes = [(type(one).__module__, type(one).__qualname__, one._fields) for one in given if hasattr(one, "_fields")]
    function.__qualname__ += f"-{hashlib.sha256(repr(shapes).encode()).hexdigest()[:16]}"
    try:
        return numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:
        # Neither the code's folder nor the user's can be written: compiled anew in each process.
        return numba.njit(nogil=True, error_model="numpy")(function)
