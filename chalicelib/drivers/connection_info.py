"""Connection info for hosts: the target in os-brick's format, and CHAP accounts in characters that all hosts accept."""

from __future__ import annotations

import string
from typing import Any

_LETTERS = string.ascii_letters + string.digits


def iscsi_target(portals: list[str], iqn: str, lun: int) -> dict[str, Any]:
    """Return one portal (``ip:port``), and with several also the lists that os-brick zips."""
    one = {'target_portal': portals[0], 'target_iqn': iqn, 'target_lun': lun}
    if len(portals) == 1:
        return one
    count = len(portals)
    return {**one, 'target_portals': portals, 'target_iqns': [iqn] * count, 'target_luns': [lun] * count}


def letters(digest: bytes, length: int) -> str:
    """Return ``length`` characters of the digest, as a number in letters and digits, lowest digit first."""
    number, characters = int.from_bytes(digest, 'big'), []
    for _ in range(length):
        number, digit = divmod(number, len(_LETTERS))
        characters.append(_LETTERS[digit])
    return ''.join(characters)
