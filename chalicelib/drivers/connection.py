"""What hosts are told of a path, in os-brick's words."""

from __future__ import annotations

from typing import Any


def iscsi_target(portals: list[str], iqn: str, lun: int) -> dict[str, Any]:
    """One portal (``ip:port``), and with several the lists that os-brick zips."""
    one = {'target_portal': portals[0], 'target_iqn': iqn, 'target_lun': lun}
    if len(portals) == 1:
        return one
    count = len(portals)
    return {**one, 'target_portals': portals, 'target_iqns': [iqn] * count, 'target_luns': [lun] * count}
