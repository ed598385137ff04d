"""How many processes share the memory of one command: budgets of bytes are divided among them.

What a budget is for, and how large it is in all, is said where it is used.
"""

from __future__ import annotations


class _State:
    """The processes of the command that this process belongs to."""

    processes: int = 1


_state = _State()


def share_memory(processes: int) -> None:
    """From now on this process is one of so many that share the budgets of one command."""
    _state.processes = processes


def share_of(size: int) -> int:
    """The part of ``size`` bytes that this process may use.

    >>> share_of(64)
    64
    """
    return size // _state.processes
