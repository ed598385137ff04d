"""Plain loops over NumPy arrays, compiled to machine code by Numba when they are first called.

Here belongs how they are compiled. A loop says what one row after the other means, which whole-array operations can
only say in many passes; other threads run meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """The function in machine code, kept on disk for the next process where a folder for that can be written.

    Arithmetic is that of IEEE 754 in the order that is written, division by zero included, as NumPy's is. One such
    function cannot call another.
    """

    @cache
    def machine_code() -> Callable[..., Any]:
        # Here, because it takes as long to import as the rest of the package, which is also used without any loop.
        import numba

        try:
            return numba.njit(cache=True, nogil=True, error_model="numpy")(function)
        except RuntimeError:
            # Neither the code's folder nor the user's can be written: compiled anew in each process.
            return numba.njit(nogil=True, error_model="numpy")(function)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        made: R = machine_code()(*args, **kwargs)
        return made

    return call
