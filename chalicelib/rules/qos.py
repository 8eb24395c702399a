"""The QoS specs that a host receives. Source: Cinder's volume manager, which computes limits per GiB at attach."""

from __future__ import annotations

from collections.abc import Mapping

#: Who may enforce specs, and which of them the attaching host is.
CONSUMERS = ('back-end', 'front-end', 'both')
FRONT_END = frozenset({'front-end', 'both'})
BACK_END = frozenset({'back-end', 'both'})

#: Limits that may be given per GiB of the volume.
SCALED = (
    'read_iops_sec', 'read_bytes_sec', 'write_iops_sec', 'write_bytes_sec', 'total_iops_sec', 'total_bytes_sec',
)  # fmt: skip


def front_end(consumer: str, specs: Mapping[str, str], size: int) -> dict[str, str | int] | None:
    """Return the limits that the host of a volume of ``size`` GiB enforces; None when that is not the host's part.

    ``<limit>_per_gb`` becomes ``<limit>``: at least ``<limit>_per_gb_min``, at most ``<limit>_max``.
    """
    if consumer not in FRONT_END:
        return None
    limits: dict[str, str | int] = dict(specs)
    for name in SCALED:
        if f'{name}_per_gb' in limits:
            limits[name] = _scaled(limits, name, size)
    return limits


def back_end(consumer: str, specs: Mapping[str, str]) -> dict[str, str]:
    """Return the specs that the volume's backend enforces; none when that is not its part."""
    return dict(specs) if consumer in BACK_END else {}


def _scaled(limits: dict[str, str | int], name: str, size: int) -> int:
    per_gb, least = int(limits.pop(f'{name}_per_gb')), int(limits.pop(f'{name}_per_gb_min', 0))
    value = max(least, per_gb * size)
    return min(value, int(limits.pop(f'{name}_max', value)))


def check(specs: Mapping[str, str]) -> list[str]:
    """Return the names of limits per GiB that are not whole numbers: no limit for a host can be computed from them."""
    figures = [f'{name}{part}' for name in SCALED if f'{name}_per_gb' in specs for part in _PARTS]
    return [name for name in figures if name in specs and not _is_number(specs[name])]


_PARTS = ('_per_gb', '_per_gb_min', '_max')


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19
