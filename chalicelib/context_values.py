"""Context variables that have a value within a block."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar('T')


@contextlib.contextmanager
def bound(variable: contextvars.ContextVar[T], value: T) -> Iterator[None]:
    """Give a context variable this value within the block, and its earlier one after it."""
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)
