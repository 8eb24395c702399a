"""os-brick's iSCSI connection data: the LUN, its portals and the CHAP secret."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from chalicelib.errors import DeviceError
from chalicelib.iscsi.chap import Credentials

_DEFAULT_PORT = 3260
_HIGHEST_LUN = 0x3FFF

#: addressing_mode -> the first LUN number with the flat addressing bit, as in os-brick (SAM-5, 4.7.7).
_FLAT_FROM: Mapping[str | None, int] = {
    None: _HIGHEST_LUN + 1,
    'transparent': _HIGHEST_LUN + 1,
    'SAM': _HIGHEST_LUN + 1,
    'SAM2': 256,
    'SAM3-flat': 0,
}
_FLAT = 0x4000


@dataclasses.dataclass(frozen=True, slots=True)
class Portal:
    """One portal of the LUN. ``lun`` is the eight-byte form that commands carry."""

    host: str
    port: int
    target_iqn: str
    lun: bytes

    def __str__(self) -> str:
        host = f'[{self.host}]' if ':' in self.host else self.host
        return f'{host}:{self.port}'


@dataclasses.dataclass(frozen=True, slots=True)
class ConnectionData:
    """``portals`` in the order to try them; ``device`` names the LUN in messages."""

    device: str
    portals: tuple[Portal, ...]
    credentials: Credentials | None

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> ConnectionData:
        """Read ``connection_info['data']``. Raises DeviceError with the name of the key that is missing or wrong.

        With ``target_portals``, the n-th portal has the n-th of ``target_iqns`` and ``target_luns``, which default to
        ``target_iqn`` and ``target_lun``, as in os-brick. Two keys are not os-brick's, which has no mutual CHAP:
        ``target_auth_username`` and ``target_auth_password`` authenticate the target.
        """
        device = f'{data.get("target_iqn") or "iSCSI"} LUN {data.get("target_lun", "?")}'
        try:
            return cls(device, tuple(dict.fromkeys(_portals(data))), _credentials(data))
        except ValueError as error:
            raise DeviceError(device=device, reason=f'connection_info is not usable: {error}') from None


def _portals(data: Mapping[str, Any]) -> list[Portal]:
    addresses = data.get('target_portals') or [_require(data, 'target_portal')]
    iqns = data.get('target_iqns') or [_require(data, 'target_iqn')] * len(addresses)
    luns = data.get('target_luns') or [_require(data, 'target_lun')] * len(addresses)
    if not len(addresses) == len(iqns) == len(luns):
        raise ValueError('target_portals, target_iqns and target_luns differ in length')
    mode = data.get('addressing_mode')
    return [_portal(*way, mode) for way in zip(addresses, iqns, luns, strict=True)]


def _portal(address: str, iqn: str, lun: Any, mode: str | None) -> Portal:
    host, port = _split(address)
    return Portal(host, port, iqn, _encode_lun(lun, mode))


def _split(address: str) -> tuple[str, int]:
    """'ip:port', '[IPv6]:port' or either without the port."""
    bracketed = address.startswith('[')
    host, _, rest = address[1:].partition(']') if bracketed else address.partition(':')
    port = rest.removeprefix(':') if bracketed else rest
    number = int(port) if port.isascii() and port.isdecimal() else _DEFAULT_PORT if not port else 0
    if not host or not 0 < number < 65536:
        raise ValueError(f'target_portal {address!r} is not of the form ip:port or [ipv6]:port')
    return host, number


def _encode_lun(lun: Any, mode: str | None) -> bytes:
    number = int(lun) if str(lun).isdecimal() else -1
    if not 0 <= number <= _HIGHEST_LUN:
        raise ValueError(f'target_lun {lun!r} is not a number from 0 to {_HIGHEST_LUN}')
    if mode not in _FLAT_FROM:
        raise ValueError(f'addressing_mode {mode!r} is not one of transparent, SAM, SAM2, SAM3-flat')
    return (number | (_FLAT if number >= _FLAT_FROM[mode] else 0)).to_bytes(2, 'big') + bytes(6)


def _credentials(data: Mapping[str, Any]) -> Credentials | None:
    """Raises ValueError where a secret is missing, or serves both directions (RFC 7143, section 9.2.1, forbids it)."""
    method = data.get('auth_method')
    if not method:
        return None
    if method != 'CHAP':
        raise ValueError(f'auth_method {method!r} is not supported; use CHAP')
    credentials = Credentials(
        str(_require(data, 'auth_username')),
        str(_require(data, 'auth_password')),
        data.get('target_auth_username'),
        data.get('target_auth_password'),
    )
    if credentials.target_password == credentials.password:
        raise ValueError('auth_password and target_auth_password must differ')
    return credentials


def _require(data: Mapping[str, Any], key: str) -> Any:
    value = data.get(key)
    if value is None or value == '':
        raise ValueError(f'{key} is missing')
    return value
