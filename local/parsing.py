"""Documents that botocore and moto parse repeatedly or slowly: a sixth of the CPU time of a start.

Each patch names the attribute that it replaces, and ``tests/unit/local/test_parsing.py`` fails when that has moved.
"""

from __future__ import annotations

import functools
import json
from typing import Any

from botocore.loaders import JSONFileLoader
from moto.cloudformation.models import Stack

_parse_any_template = Stack.parse_template


def install() -> None:
    """Patch botocore and moto; a second call changes nothing."""
    if not hasattr(JSONFileLoader.load_file, 'cache_info'):
        _share_descriptions()
        Stack.parse_template = staticmethod(_parse_template)  # type: ignore[method-assign]


def _share_descriptions() -> None:
    """Parse each description of a service or of endpoints once: each botocore session has a loader of its own.

    botocore itself shares a loader's documents between clients; it extends them only with their own extras.
    """
    loader = JSONFileLoader()
    load = functools.lru_cache(maxsize=None)(loader.load_file)
    JSONFileLoader.load_file = staticmethod(load)


def _parse_template(template: str) -> dict[str, Any]:
    """Parse JSON as JSON: moto's YAML parser in Python takes 0.3 s for the stack's template."""
    try:
        found: dict[str, Any] = json.loads(template)
    except (ValueError, RecursionError):
        found = _parse_any_template(template)
    return found
