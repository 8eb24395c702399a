"""JSON as RFC 8259 defines it, for bodies that a client or another server sends."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any


def parse(text: str, max_depth: int) -> Any:
    """Return the document. Raises ValueError for text that is not JSON, or that later code could not handle.

    Python also accepts NaN, numbers beyond a float, halves of surrogate pairs, which no encoding takes, and nesting
    on which recursive code fails.
    """
    too_deep = f'the JSON has more than {max_depth} levels'
    try:
        document = json.loads(text, parse_constant=_finite, parse_float=_finite)
    except RecursionError:
        raise ValueError(too_deep) from None
    if text.count('[') + text.count('{') > max_depth and _is_deeper(document, max_depth):
        raise ValueError(too_deep)
    if '\\ud' in text.lower():
        json.dumps(document, ensure_ascii=False).encode()
    return document


def _is_deeper(document: Any, levels: int) -> bool:
    level = [document]
    for _ in range(levels):
        level = [inner for value in level for inner in _members(value)]
    return bool(level)


def _members(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f'{text} is not a finite number')
    return number
