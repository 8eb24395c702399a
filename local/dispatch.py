"""Work of botocore and moto that no answer depends on: a third of the CPU time of a call to SQS.

Each patch names the attribute that it replaces, and ``tests/unit/local/test_dispatch.py`` fails when that has moved.
"""

from __future__ import annotations

import functools
import string
import sys
from collections.abc import Callable
from typing import Any

from botocore.auth import SigV4Auth
from moto.core import utils
from moto.core.base_backend import BaseBackend
from moto.moto_api._internal.moto_random import MotoRandom

#: Names of operations and attributes that are converted: there are some thousand.
NAMES = 4096


def install() -> None:
    """Patch botocore and moto; a second call changes nothing."""
    if hasattr(utils.method_names_from_class, 'cache_info'):
        return
    _cache_everywhere('method_names_from_class', None)
    _cache_everywhere('camelcase_to_underscores', NAMES)
    BaseBackend.urls = property(_urls)  # type: ignore[method-assign, assignment]
    MotoRandom.get_random_string = _random_string  # type: ignore[method-assign]
    SigV4Auth.canonical_request = _unread
    SigV4Auth.signature = _signature


def _cache_everywhere(name: str, size: int | None) -> None:
    """Cache a function of moto.core.utils, also in the modules that have imported it by name."""
    original: Callable[..., Any] = getattr(utils, name)
    cached = functools.lru_cache(size)(original)
    for module in [module for place, module in sys.modules.items() if place.startswith('moto.')]:
        if vars(module).get(name) is original:
            setattr(module, name, cached)


_make_urls = BaseBackend.urls.fget  # type: ignore[attr-defined]


def _urls(backend: BaseBackend) -> dict[str, Any]:
    """Return the handlers by URL; moto formats them from the service's patterns each time."""
    known = vars(backend).get('_urls')
    if known is None:
        known = backend._urls = _make_urls(backend)  # type: ignore[attr-defined]
    return dict(known)


def _random_string(self: MotoRandom, length: int = 20, include_digits: bool = True, lower_case: bool = False) -> str:
    """Return what moto returns, drawn at once: each response has an id of 52 characters."""
    pool = string.ascii_letters + (string.digits if include_digits else '')
    text = ''.join(self.choices(pool, k=length))
    return text.lower() if lower_case else text


def _unread(self: SigV4Auth, request: Any) -> str:
    """Replace the text that a signature is made of."""
    return ''


def _signature(self: SigV4Auth, string_to_sign: str, request: Any) -> str:
    """Return a text in the form of a signature: neither moto nor DynamoDB Local compares it.

    Both read the service from the credential's scope, which botocore still writes.
    """
    return '0' * 64
