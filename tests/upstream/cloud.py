"""``python -m tests.upstream.cloud``: the local cloud with one backend per pool, so that two lie in one zone.

Tempest retypes a volume from one backend to another, and names no zone.
"""

from __future__ import annotations

import os
from typing import Any

from local import __main__, storage


class Storage(storage.Storage):
    def backends(self) -> dict[str, Any]:
        made = []
        for pool, (zone, _) in storage.POOLS.items():
            one = self._backend(zone)
            made.append({**one, 'name': f'xfs-{pool}', 'options': {**one['options'], 'pools': [pool]}})
        return {'host': storage.STACK, 'backends': made}


if __name__ == '__main__':
    storage.Storage = Storage  # type: ignore[misc]
    os._exit(__main__.main())  # as the local cloud itself does: its threads are not joined
