"""The differences between two thin volumes, from their pool's metadata (thin_delta of thin-provisioning-tools)."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator

from appliance.errors import NotComparable

#: The elements of a difference: not in ``same``, in which both volumes map to the same block, and in no element at all,
#: where neither has a block.
_DIFFERENT = frozenset(('different', 'left_only', 'right_only'))

_SECTOR = 512


def differences(delta: str, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield the (start, stop) in bytes of thin_delta's output that lie from ``start`` to ``stop``, ascending.

    Raises NotComparable for output that is not understood.
    """
    try:
        root = ET.fromstring(delta)  # noqa: S314  # as above
        block = int(root.attrib['data_block_size']) * _SECTOR
        found = [_part(one, block) for diff in root.iter('diff') for one in diff if _is_different(one.tag)]
        if len(list(root.iter('diff'))) != 1:
            raise ValueError('it has no single element diff')
    except (ET.ParseError, KeyError, ValueError) as error:
        raise NotComparable(f'the output of thin_delta is not understood: {error}') from error
    for first, last in sorted(found):
        if first < stop and start < last:
            yield max(first, start), min(last, stop)


def _is_different(tag: str) -> bool:
    if tag not in _DIFFERENT and tag != 'same':
        raise ValueError(f'unknown element {tag}')
    return tag in _DIFFERENT


def _part(element: ET.Element, block: int) -> tuple[int, int]:
    begin, length = int(element.attrib['begin']), int(element.attrib['length'])
    return begin * block, (begin + length) * block


def device(*names: str) -> str:
    """Return the name that LVM gives a device of a volume group: parts joined by '-', which is doubled in them."""
    return '-'.join(name.replace('-', '--') for name in names)
