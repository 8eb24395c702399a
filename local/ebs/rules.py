"""AWS's limits of each volume type (API model of November 2026), and of operations."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from local.ebs.cloud import Refused


@dataclasses.dataclass(frozen=True, slots=True)
class Kind:
    """One volume type. Sizes in GiB, throughput in MiB/s; ``per_gib``: the most IOPS a GiB may carry."""

    sizes: tuple[int, int]
    iops: tuple[int, int] | None = None
    throughput: tuple[int, int] | None = None
    iops_required: bool = False
    per_gib: int = 0
    multi_attach: bool = False


KINDS: Mapping[str, Kind] = {
    'gp2': Kind((1, 16384)),
    'gp3': Kind((1, 65536), (3000, 80000), (125, 2000), per_gib=500),
    'io1': Kind((4, 16384), (100, 64000), iops_required=True, per_gib=50, multi_attach=True),
    'io2': Kind((4, 65536), (100, 256000), iops_required=True, per_gib=1000, multi_attach=True),
    'st1': Kind((125, 16384)),
    'sc1': Kind((125, 16384)),
    'standard': Kind((1, 1024)),
}

#: The API's own default, also of CopyVolumes.
DEFAULT_KIND = 'gp2'

#: gp3 carries at most this share of its IOPS as MiB/s.
THROUGHPUT_PER_IOPS = 0.25

#: Modifications of one volume that may begin in any 24 hours.
MODIFICATIONS, MODIFICATION_WINDOW = 4, 24 * 3600

#: Snapshots of one volume that may be pending at once (1 for sc1 and st1).
PENDING_SNAPSHOTS = 5

MAX_TAGS = 50
MAX_INSTANCES = 16


@dataclasses.dataclass(frozen=True, slots=True)
class Shape:
    """Type and performance of a volume, as they will be."""

    kind: str
    size: int
    iops: int | None
    throughput: int | None
    multi_attach: bool


def shape(parameters: Mapping[str, Any], size: int, kind: str | None = None) -> Shape:
    """Check a request's parameters, fill in AWS's defaults. Raises Refused."""
    name = str(parameters.get('VolumeType', kind or DEFAULT_KIND))
    if name not in KINDS:
        raise Refused('UnknownVolumeType', f"Unsupported volume type '{name}' for volume creation.")
    found = KINDS[name]
    _check_size(name, found, size)
    iops = _iops(name, found, size, parameters.get('Iops'))
    throughput = _throughput(name, found, iops, parameters.get('Throughput'))
    multi_attach = bool(parameters.get('MultiAttachEnabled', False))
    if multi_attach and not found.multi_attach:
        raise Refused('InvalidParameterCombination', f'Multi-Attach is not supported for {name} volumes.')
    return Shape(name, size, iops, throughput, multi_attach)


def _check_size(name: str, kind: Kind, size: int) -> None:
    low, high = kind.sizes
    if not low <= size <= high:
        bound = f'small; minimum is {low}GiB' if size < low else f'large; maximum is {high}GiB'
        raise Refused('InvalidParameterValue', f'Volume of {size}GiB is too {bound} for type {name}.')


def _iops(name: str, kind: Kind, size: int, asked: int | None) -> int | None:
    if kind.iops is None:
        if asked is not None:
            raise Refused('InvalidParameterCombination', f'The parameter iops is not supported for {name} volumes.')
        return min(max(100, 3 * size), 16000) if name == 'gp2' else None
    if asked is None:
        if kind.iops_required:
            raise Refused('MissingParameter', 'The request must contain the parameter iops')
        return kind.iops[0]
    low, high = kind.iops
    if not low <= asked <= high:
        raise Refused('InvalidParameterValue', f'Volume iops of {asked} is not between {low} and {high} for {name}.')
    if asked > low and asked > kind.per_gib * size:
        raise Refused(
            'InvalidParameterValue', f'Iops to volume size ratio of {asked / size:.1f} exceeds {kind.per_gib}'
        )
    return asked


def _throughput(name: str, kind: Kind, iops: int | None, asked: int | None) -> int | None:
    if kind.throughput is None:
        if asked is not None:
            raise Refused(
                'InvalidParameterCombination', f'The parameter throughput is not supported for {name} volumes'
            )
        return None
    low, high = kind.throughput
    if asked is None:
        return low
    if not low <= asked <= high:
        raise Refused('InvalidParameterValue', f'Throughput of {asked} is not between {low} and {high} MiB/s.')
    if asked > THROUGHPUT_PER_IOPS * (iops or 0):
        raise Refused('InvalidParameterValue', f'Throughput (MiBps) to iops ratio of {asked / (iops or 1)} is too high')
    return asked
