"""What hosts are told of a path: the target in os-brick's words, and CHAP accounts in letters that all of them take."""

from __future__ import annotations

import string
from typing import Any

_LETTERS = string.ascii_letters + string.digits


def iscsi_target(portals: list[str], iqn: str, lun: int) -> dict[str, Any]:
    """One portal (``ip:port``), and with several the lists that os-brick zips."""
    one = {'target_portal': portals[0], 'target_iqn': iqn, 'target_lun': lun}
    if len(portals) == 1:
        return one
    count = len(portals)
    return {**one, 'target_portals': portals, 'target_iqns': [iqn] * count, 'target_luns': [lun] * count}


def letters(digest: bytes, length: int) -> str:
    """``length`` characters of the digest, as a number written in letters and digits, lowest digit first."""
    number, characters = int.from_bytes(digest, 'big'), []
    for _ in range(length):
        number, digit = divmod(number, len(_LETTERS))
        characters.append(_LETTERS[digit])
    return ''.join(characters)
