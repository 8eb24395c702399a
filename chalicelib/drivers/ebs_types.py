"""EBS's volume types: the limits of each, and the extra specs of Cinder volume types.

| extra spec | meaning | without it |
|---|---|---|
| ebs:volume_type | gp2, gp3, io1, io2, st1, sc1, standard | the backend's option volume_type |
| ebs:iops, ebs:iops_per_gb | IOPS, total or per GiB | AWS's baseline; io1 and io2: 50 per GiB up to 3,000 |
| ebs:throughput | MiB/s, gp3 only | AWS's baseline, 125 |
| ebs:encrypted | true, false | the backend's option encrypted |
| ebs:kms_key_id | ARN, id or alias of a KMS key; implies encrypted | the backend's option kms_key_id |
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from chalicelib.drivers.base import VolumeRef
from chalicelib.errors import BackendFull, NotSupported


@dataclasses.dataclass(frozen=True, slots=True)
class Kind:
    """One type's limits (EC2's API model, November 2026). Sizes in GiB, throughput in MiB/s."""

    sizes: tuple[int, int]
    iops: tuple[int, int] | None = None
    iops_per_gib: int = 0
    throughput: tuple[int, int] | None = None
    #: IOPS must be set, and several instances may attach it.
    provisioned: bool = False


KINDS: Mapping[str, Kind] = {
    'gp2': Kind((1, 16384)),
    'gp3': Kind((1, 65536), (3000, 80000), 500, (125, 2000)),
    'io1': Kind((4, 16384), (100, 64000), 50, provisioned=True),
    'io2': Kind((4, 65536), (100, 256000), 1000, provisioned=True),
    'st1': Kind((125, 16384)),
    'sc1': Kind((125, 16384)),
    'standard': Kind((1, 1024)),
}

#: The default IOPS of io1 and io2: per GiB, and at most.
_DEFAULT_PER_GIB, _DEFAULT_IOPS = 50, 3000

_TRUTH = {'true': True, '<is> true': True, 'false': False, '<is> false': False}


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """The properties of a volume. ``iops`` and ``throughput`` are None for AWS's baseline."""

    kind: str
    iops: int | None
    throughput: int | None
    multiattach: bool
    encrypted: bool
    kms_key_id: str | None

    def parameters(self) -> dict[str, Any]:
        """For CreateVolume and CopyVolumes. The type must be set: the API's default is gp2."""
        return {**self.performance(), **({'MultiAttachEnabled': True} if self.multiattach else {}), **self.encryption()}

    def performance(self) -> dict[str, Any]:
        values = {'VolumeType': self.kind, 'Iops': self.iops, 'Throughput': self.throughput}
        return {name: value for name, value in values.items() if value is not None}

    def encryption(self) -> dict[str, Any]:
        if not self.encrypted:
            return {}
        return {'Encrypted': True, **({'KmsKeyId': self.kms_key_id} if self.kms_key_id else {})}


def wanted(backend: str, volume: VolumeRef, options: Mapping[str, Any], size: int = 0) -> Wanted:
    """Return the properties by the volume's type and the backend's options, at ``size`` GiB (default: its own).

    Raises NotSupported for a spec that EBS cannot fulfil, BackendFull for a size above the type's largest.
    """
    specs, size = volume.extra_specs, size or volume.size
    name = specs.get('ebs:volume_type') or str(options['volume_type'])
    if name not in KINDS:
        raise _unsupported(backend, f'ebs:volume_type is {name!r}: use one of {", ".join(KINDS)}')
    kind = KINDS[name]
    _check_size(backend, name, kind, size)
    if volume.multiattach and not kind.provisioned:
        raise _unsupported(backend, f'{name} volumes cannot be multiattach: set ebs:volume_type to io1 or io2')
    key = specs.get('ebs:kms_key_id') or options.get('kms_key_id')
    return Wanted(
        kind=name,
        iops=_iops(backend, name, kind, specs, size),
        throughput=_throughput(backend, name, kind, specs),
        multiattach=volume.multiattach,
        encrypted=bool(key) or _truth(backend, specs, bool(options.get('encrypted'))),
        kms_key_id=key,
    )


def _check_size(backend: str, name: str, kind: Kind, size: int) -> None:
    low, high = kind.sizes
    if size > high:
        raise BackendFull(backend=backend, size=size, reason=f'{name} volumes have at most {high} GiB')
    if size < low:
        raise _unsupported(backend, f'{name} volumes have at least {low} GiB, not {size}')


def _iops(backend: str, name: str, kind: Kind, specs: Mapping[str, str], size: int) -> int | None:
    requested = _number(backend, specs, 'ebs:iops')
    per_gib = _number(backend, specs, 'ebs:iops_per_gb')
    if requested is None and per_gib is not None:
        requested = per_gib * size
    if kind.iops is None:
        if requested is not None:
            raise _unsupported(backend, f'{name} volumes have no IOPS to set: remove ebs:iops and ebs:iops_per_gb')
        return None
    low, high = kind.iops
    if requested is None:
        return max(low, min(_DEFAULT_IOPS, _DEFAULT_PER_GIB * size)) if kind.provisioned else None
    most = max(low, min(high, kind.iops_per_gib * size))
    if per_gib is not None and 'ebs:iops' not in specs:
        return max(low, min(most, requested))
    if not low <= requested <= most:
        raise _unsupported(backend, f'ebs:iops is {requested}: a {name} volume of {size} GiB allows {low} to {most}')
    return requested


def _throughput(backend: str, name: str, kind: Kind, specs: Mapping[str, str]) -> int | None:
    requested = _number(backend, specs, 'ebs:throughput')
    if requested is None:
        return None
    if kind.throughput is None:
        raise _unsupported(backend, f'{name} volumes have no throughput to set: remove ebs:throughput')
    low, high = kind.throughput
    if not low <= requested <= high:
        raise _unsupported(backend, f'ebs:throughput is {requested}: {name} allows {low} to {high} MiB/s')
    return requested


def _number(backend: str, specs: Mapping[str, str], key: str) -> int | None:
    text = specs.get(key)
    if text is None:
        return None
    if not text.isdecimal() or not text.isascii():
        raise _unsupported(backend, f'{key} is {text!r}: set a whole number')
    return int(text)


def _truth(backend: str, specs: Mapping[str, str], default: bool) -> bool:
    text = specs.get('ebs:encrypted')
    if text is None:
        return default
    if text.lower() not in _TRUTH:
        raise _unsupported(backend, f'ebs:encrypted is {text!r}: set true or false')
    return _TRUTH[text.lower()]


def _unsupported(backend: str, reason: str) -> NotSupported:
    return NotSupported(backend=backend, operation='such a volume', reason=reason)
