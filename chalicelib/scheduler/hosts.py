"""The name of a pool, ``host@backend#pool``, and its parts.

The host part ends before the first ``@``, the backend part before the first ``#``. A name with more than one ``#``
has no pool part: Cinder reads it like this, and every comparison of names uses these functions.
"""

from __future__ import annotations

from typing import Literal

from chalicelib import errors

#: Name of the pool of a backend that reports neither pools nor its own name.
DEFAULT_POOL = '_pool0'


def extract_host(host: str | None, level: Literal['host', 'backend', 'pool'] = 'backend') -> str | None:
    """Return one part of ``host``; None when the level is ``pool`` and there is none.

    Raises InvalidVolume when ``host`` is None: the volume has not been scheduled.
    """
    if host is None:
        raise errors.InvalidVolume(reason='the volume is not assigned to a host')
    backend, *pools = host.split('#')
    if level == 'pool':
        return pools[0] if len(pools) == 1 else None
    return backend.split('@')[0] if level == 'host' else backend


def pool_or_default(host: str) -> str:
    """Return the pool part, or Cinder's name for the only pool of a backend without pools."""
    pool = extract_host(host, 'pool')
    return DEFAULT_POOL if pool is None else pool


def in_backend(name: str, backend: str) -> bool:
    """Return whether ``backend`` covers pool ``name``: it is that pool, or the pool's backend without '#'."""
    if extract_host(backend, 'pool'):
        return name == backend
    return extract_host(name) == backend
