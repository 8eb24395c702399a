"""The command line, parsed and checked."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from appliance.daemon import address
from appliance.names import GRAMMAR

GIB = 1024**3

_UNITS = {'': 1, 'M': 1024**2, 'G': GIB, 'T': 1024**4}

#: Paths are passed to tgtd within a list of parameters, name=value, which commas separate.
_PATH = re.compile(r'[^\x00-\x1f\x7f,=]+')


class StoreOption(NamedTuple):
    """``kind`` is dir, xfs-image or lvm; ``place`` a path or group/pool; ``size`` in bytes, for an image."""

    kind: str
    place: str
    size: int = 0


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(
        prog='python3 -m appliance', description='Volumes of this host over iSCSI, for Cinderless.'
    )
    add = options.add_argument
    add('command', nargs='?', choices=('serve', 'install'), default='serve',
        help='serve (the default), or install: write a systemd unit that serves with these options')  # fmt: skip
    add('--listen', type=_checked(address), default='127.0.0.1:18700', metavar='IP:PORT',
        help='address of the agent for the driver (default %(default)s; port 0: a free one)')  # fmt: skip
    add('--portal', type=_checked(_portal), action='append', metavar='IP:PORT',
        help='address of tgtd for initiators; may be repeated (default 127.0.0.1:3260)')  # fmt: skip
    add('--advertise', type=_checked(_reachable), action='append', metavar='HOST:PORT',
        help='what initiators get for each --portal, in order (default: the portals)')  # fmt: skip
    add('--state-dir', type=_checked(_absolute), default='/var/lib/cinderless-appliance', metavar='FOLDER',
        help='journal and certificate (default %(default)s)')  # fmt: skip
    add('--store', type=_checked(store), default='dir:/srv/cinderless', metavar='KIND:PLACE',
        help='dir:<folder>, xfs-image:<file>:<size>, or lvm:<group>/<thin pool> (default %(default)s)')  # fmt: skip
    add('--pools', type=_checked(pools), default='default', metavar='NAME[:GIB],...',
        help='pools and their capacity (default %(default)s: one, with all of the store)')  # fmt: skip
    add('--secret-file', type=_checked(_absolute), default='/etc/cinderless-appliance/secret', metavar='FILE',
        help='the secret shared with the driver, 32 bytes or more (default %(default)s)')  # fmt: skip
    add('--max-over-subscription', type=_checked(_ratio), default=20.0, metavar='RATIO',
        help="how often a pool's capacity may be promised (default %(default)s)")  # fmt: skip
    add('--control-port', type=int, default=0, metavar='N',
        help="tgtd's control port (default: a free one, or 0 with --existing-tgtd)")  # fmt: skip
    add('--existing-tgtd', action='store_true',
        help='use the tgtd that is running, and leave it and its sessions alone at stop')  # fmt: skip
    add('--allow-predictable-challenges', action='store_true',
        help='start even if tgtd lacks the fix of CVE-2024-45751')  # fmt: skip
    add('--root', type=Path, default='/', help='install: the file system to write to (default %(default)s)')
    return options


def store(text: str) -> StoreOption:
    kind, _, place = text.partition(':')
    if kind == 'dir':
        return StoreOption(kind, str(_absolute(place)))
    if kind == 'xfs-image':
        path, _, given = place.rpartition(':')
        return StoreOption(kind, str(_absolute(path)), size(given))
    if kind == 'lvm' and re.fullmatch(r'[A-Za-z0-9_+][A-Za-z0-9_.+-]*/[A-Za-z0-9_+][A-Za-z0-9_.+-]*', place):
        return StoreOption(kind, place)
    raise ValueError(f'{text!r} is not a store')


def pools(text: str) -> dict[str, int]:
    """Return capacity in bytes by pool; 0 is the store's whole capacity."""
    found = [part.partition(':') for part in text.split(',')]
    names = [name for name, _, _ in found]
    for name in names:
        if not GRAMMAR['pool'].fullmatch(name):
            raise ValueError(f'{name!r} is not a pool name')
        if names.count(name) > 1:
            raise ValueError(f'pool {name} is defined twice')
    return {name: int(gib) * GIB if gib else 0 for name, _, gib in found}


def size(text: str) -> int:
    """Return the bytes of a number with M, G, T, or without a unit."""
    match = re.fullmatch(r'([0-9]+)([MGT]?)', text)
    if not match:
        raise ValueError(f'{text!r} is not a size: use a number with M, G or T')
    return int(match[1]) * _UNITS[match[2]]


def _ratio(text: str) -> float:
    if float(text) < 1:
        raise ValueError(f'{text} is not a ratio: use 1 or more')
    return float(text)


def advertised(portals: list[str], given: list[str]) -> list[str]:
    """Return what initiators get for the portals. Raises ValueError for an address that none can connect to."""
    if given and len(given) != len(portals):
        raise ValueError(f'{len(given)} --advertise for {len(portals)} --portal: give one for each')
    return [_reachable(portal) for portal in given or portals]


def _reachable(text: str) -> str:
    if address(_portal(text))[0] in ('0.0.0.0', '::'):  # noqa: S104  # refused, not used
        raise ValueError(f'{text}: initiators connect to this address: use one that they can reach')
    return text


def _portal(text: str) -> str:
    _, port = address(text)
    if port == 0:
        raise ValueError('initiators connect to this port: set one')
    return text


def _absolute(text: str) -> Path:
    path = Path(text).absolute()
    if not _PATH.fullmatch(str(path)):
        raise ValueError(f'{str(path)!r} has a comma, an equals sign or a control character, which tgtd does not take')
    return path


def _checked(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a type for argparse whose ValueError is shown to the user."""

    def checked(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return checked
