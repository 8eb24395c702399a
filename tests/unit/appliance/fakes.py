"""Doubles that are as strict as what they replace: tgtd with its faults, and LVM's commands."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from appliance.tgt import _REQUEST, Mode, Op, Status, Tgt

GLOBAL_NAMES = {'MaxRecvDataSegmentLength', 'MaxXmitDataSegmentLength', 'FirstBurstLength', 'MaxBurstLength'}
GLOBAL_NAMES |= {'MaxOutstandingR2T', 'InitialR2T', 'ImmediateData', 'state'}

LUN_EXISTS, INVALID = 10, 17


class Crashed(Exception):
    """tgtd dies of a NULL pointer."""


@dataclasses.dataclass
class FakeLun:
    path: str
    size: int
    flags: str = ''
    facts: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class FakeTarget:
    iqn: str
    names: list[str] = dataclasses.field(default_factory=list)
    #: tgt's array: an unbind empties a place, lowers the count, and closes no gap.
    places: list[str] = dataclasses.field(default_factory=lambda: [''] * 16)
    count: int = 0
    lun: FakeLun | None = None
    sessions: dict[int, str] = dataclasses.field(default_factory=dict)
    settings: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def seen(self) -> list[str]:
        """The accounts that a login, or "show", looks at."""
        return self.places[: self.count]


class FakeTgt(Tgt):
    """Takes the bytes that a control socket would. ``size_of`` returns how large a LUN's file is when it is opened."""

    def __init__(self, size_of: Callable[[str], int] = lambda path: 0) -> None:
        super().__init__(0)
        self.live: dict[int, FakeTarget] = {}
        self.passwords: dict[str, str] = {}
        self.requests: list[tuple[Mode, Op, str]] = []
        self._size_of = size_of
        self._sids = itertools.count(1)

    def target(self, iqn: str) -> FakeTarget:
        return next(target for target in self.live.values() if target.iqn == iqn)

    def login(self, iqn: str, initiator: str, user: str = '', password: str = '') -> int:
        """Open a session, or raise PermissionError with the reason."""
        return self.finish_login(*self.begin_login(iqn, initiator, user, password))

    def begin_login(self, iqn: str, initiator: str, user: str = '', password: str = '') -> tuple[int, str]:
        """All checks are made here. What is left is the target's number, which may have another target at the end."""
        target = next((target for target in self.live.values() if target.iqn == iqn), None)
        if target is None:
            raise PermissionError('no target')
        if target.settings.get('state') == 'offline':
            raise PermissionError('later')
        if initiator not in target.names:
            raise PermissionError('name')
        if target.count and (user not in target.seen or self.passwords[user] != password):
            raise PermissionError('account')
        return next(tid for tid, one in self.live.items() if one is target), initiator

    def finish_login(self, tid: int, initiator: str) -> int:
        if tid not in self.live:
            raise PermissionError('no target')
        sid = next(self._sids)
        self.live[tid].sessions[sid] = initiator
        return sid

    def _exchange(self, request: bytes) -> tuple[int, str]:
        mode, op, driver, length, tid, sid, lun, cid, _, _, _, _, force = _REQUEST.unpack_from(request)
        assert driver.rstrip(b'\0') == b'iscsi'
        assert length == len(request)
        text = request[_REQUEST.size :].decode()
        assert text == '' or text.endswith('\0')
        parameters = text.rstrip('\0')
        self.requests.append((Mode(mode), Op(op), parameters))
        serve = getattr(self, f'_{Mode(mode).name}_{Op(op).name}'.lower())
        outcome: int | str = serve(tid, parameters, sid=sid, lun=lun, cid=cid, force=bool(force))
        return (0, outcome) if isinstance(outcome, str) else (outcome, '')

    def _system_show(self, tid: int, text: str, **rest: Any) -> str:
        return 'System:\n    State: ready\n'

    def _target_new(self, tid: int, text: str, **rest: Any) -> int:
        iqn = text.removeprefix('targetname=')
        if tid in self.live or any(target.iqn == iqn for target in self.live.values()):
            return Status.TARGET_EXISTS
        self.live[tid] = FakeTarget(iqn)
        return 0

    def _target_delete(self, tid: int, text: str, force: bool, **rest: Any) -> int:
        if tid not in self.live:
            return Status.NO_TARGET
        if self.live[tid].sessions and not force:
            return 19
        del self.live[tid]
        return 0

    def _target_update(self, tid: int, text: str, **rest: Any) -> int:
        name, _, value = text.partition('=')
        if tid not in self.live:
            return Status.NO_TARGET
        assert name in GLOBAL_NAMES
        self.live[tid].settings[name] = value
        return 0

    def _target_bind(self, tid: int, text: str, **rest: Any) -> int:
        name = text.removeprefix('initiator-name=')
        assert name != text, 'an address opens the target to every host that has it'
        if tid not in self.live:
            return Status.NO_TARGET
        if name in self.live[tid].names:
            return Status.ACL_EXISTS
        self.live[tid].names.append(name)
        return 0

    def _target_unbind(self, tid: int, text: str, **rest: Any) -> int:
        name = text.removeprefix('initiator-name=')
        if tid not in self.live:
            return Status.NO_TARGET
        if name not in self.live[tid].names:
            return Status.NO_ACL
        self.live[tid].names.remove(name)
        return 0

    def _target_show(self, tid: int, text: str, **rest: Any) -> str:
        return ''.join(self._describe(tid, target) for tid, target in sorted(self.live.items()))

    def _describe(self, tid: int, target: FakeTarget) -> str:
        if '' in target.seen:
            raise Crashed
        lines = [f'Target {tid}: {target.iqn}', '    System information:', '        Driver: iscsi']
        lines += [f'        State: {target.settings.get("state", "ready")}']
        lines += ['    LUN information:', '        LUN: 0', '            Type: controller']
        lines += ['            Backing store path: None', *_describe_lun(tid, target.lun)]
        lines += ['    Account information:', *(f'        {user}' for user in target.seen)]
        lines += ['    ACL information:', *(f'        {name}' for name in target.names)]
        return '\n'.join(lines) + '\n'

    def _logicalunit_new(self, tid: int, text: str, lun: int, **rest: Any) -> int:
        facts = dict(part.split('=', 1) for part in text.split(','))
        if tid not in self.live:
            return Status.NO_TARGET
        if self.live[tid].lun:
            return LUN_EXISTS
        try:
            size = self._size_of(facts['path'])
        except OSError:
            return INVALID
        self.live[tid].lun = FakeLun(facts['path'], size, facts.get('bsoflags', ''))
        return 0

    def _logicalunit_update(self, tid: int, text: str, **rest: Any) -> int:
        keyword, _, facts = text.partition(' ')
        assert keyword == 'targetOps'
        assert facts.endswith(',')
        if tid not in self.live:
            return Status.NO_TARGET
        lun = self.live[tid].lun
        if lun is None:
            return Status.NO_LUN
        lun.facts |= dict(part.split('=', 1) for part in facts[:-1].split(','))
        return 0

    def _logicalunit_delete(self, tid: int, text: str, **rest: Any) -> int:
        if tid not in self.live:
            return Status.NO_LUN
        if self.live[tid].lun is None:
            return Status.NO_LUN
        self.live[tid].lun = None
        return 0

    def _account_new(self, tid: int, text: str, **rest: Any) -> int:
        user, password = (part.partition('=')[2] for part in text.split(','))
        if user in self.passwords:
            return Status.ACCOUNT_EXISTS
        self.passwords[user] = password
        return 0

    def _account_delete(self, tid: int, text: str, **rest: Any) -> int:
        user = text.removeprefix('user=')
        if user not in self.passwords:
            return Status.NO_ACCOUNT
        for bound in self.live:
            self._account_unbind(bound, text)
        del self.passwords[user]
        return 0

    def _account_bind(self, tid: int, text: str, **rest: Any) -> int:
        user = text.removeprefix('user=')
        if tid not in self.live:
            return Status.NO_TARGET
        target = self.live[tid]
        if user not in self.passwords:
            return Status.NO_ACCOUNT
        if user in target.places:
            return Status.ACCOUNT_EXISTS
        if target.count == len(target.places):
            target.places += [''] * len(target.places)
        target.places[target.places.index('')] = user
        target.count += 1
        return 0

    def _account_unbind(self, tid: int, text: str, **rest: Any) -> int:
        user = text.removeprefix('user=')
        if tid not in self.live:
            return Status.NO_TARGET
        target = self.live[tid]
        if user not in self.passwords or user not in target.places:
            return Status.NO_ACCOUNT
        target.places[target.places.index(user)] = ''
        target.count -= 1
        return 0

    def _connection_show(self, tid: int, text: str, **rest: Any) -> int | str:
        if tid not in self.live:
            return Status.NO_TARGET
        shown = '    Connection: 0\n        Initiator: {}\n        IP Address: 192.0.2.9\n'
        sessions = self.live[tid].sessions.items()
        return ''.join(f'Session: {sid}\n' + shown.format(name) for sid, name in sessions)

    def _connection_delete(self, tid: int, text: str, sid: int, **rest: Any) -> int:
        if tid not in self.live:
            return Status.NO_TARGET
        return 0 if self.live[tid].sessions.pop(sid, None) else Status.NO_SESSION


def _describe_lun(tid: int, lun: FakeLun | None) -> list[str]:
    if lun is None:
        return []
    shown = {
        'Type': 'disk',
        'SCSI ID': lun.facts.get('scsi_id', f'IET     {tid:04x}0001'),
        'SCSI SN': lun.facts.get('scsi_sn', f'beaf{tid}1'),
        'Size': f'{(lun.size + 500_000) // 1_000_000} MB, Block size: 512',
        'Readonly': 'Yes' if lun.facts.get('readonly') == '1' else 'No',
        'Thin-provisioning': 'Yes' if lun.facts.get('thin_provisioning') == '1' else 'No',
        'Backing store path': lun.path,
        'Backing store flags': lun.flags,
    }
    return ['        LUN: 1', *(f'            {name}: {value}' for name, value in shown.items())]


@dataclasses.dataclass
class _Lv:
    size: int
    tags: set[str]
    active: bool = True
    thin_id: int = 0


class FakeLvm:
    """lvcreate, lvextend, lvrename, lvremove, lvchange and lvs over one volume group with one thin pool.

    It takes exactly the options that the store gives, and refuses what lvm2 2.03 refuses, in its words: each command
    has its own for what is not there. ``die_before`` counts commands down and raises KeyboardInterrupt at 0, as if the
    host had gone.
    """

    NOT_THERE: ClassVar = {
        'lvcreate': 'Snapshot origin LV {name} not found in Volume group {group}.',
        'lvextend': 'Logical volume {name} not found in volume group {group}.',
        'lvrename': 'Existing logical volume "{name}" not found in volume group "{group}"',
        'lvremove': 'Failed to find logical volume "{group}/{name}"',
        'lvchange': 'Failed to find logical volume "{group}/{name}"',
        'lvs': 'Failed to find logical volume "{group}/{name}"',
    }

    EXTENT = 4 * 1024**2

    def __init__(self, group: str = 'vg', pool: str = 'thin', size: int = 64 * 1024**3) -> None:
        self.group, self.pool, self.size = group, pool, size
        self.volumes: dict[str, _Lv] = {}
        self._ids = itertools.count(1)
        self.commands: list[tuple[str, ...]] = []
        self.full = ''
        self.zeroes = True
        #: thin_delta's output of a pair of devices; whether the pool has a metadata snapshot, and the tools are there.
        self.deltas: dict[tuple[str, str], str] = {}
        self.reserved = False
        self.tools = True
        #: Path -> the volume that was opened by it; a volume keeps its device when it is renamed.
        self.opened: dict[str, _Lv] = {}
        self.is_open: Callable[[str], bool] = lambda path: False
        self.die_before: Iterator[int] | None = None

    def __call__(self, command: tuple[str, ...]) -> tuple[int, str, str]:
        if self.die_before is not None and next(self.die_before) == 0:
            raise KeyboardInterrupt
        self.commands.append(command)
        name, *arguments = command
        if name in ('dmsetup', 'thin_delta'):
            return self._metadata(name, *arguments)
        if name != 'lvs':
            assert arguments.pop(0) == '--yes', 'lvm would wait for an answer'
        try:
            return 0, getattr(self, f'_{name}')(*arguments), ''
        except LookupError as error:
            return 5, '', '  ' + self.NOT_THERE[name].format(name=error.args[0], group=self.group)
        except ValueError as error:
            return 3, '', f'  {error}'
        except OSError as error:
            return 5, '', f'  {error}'

    def _metadata(self, name: str, *arguments: str) -> tuple[int, str, str]:
        """A pool takes one metadata snapshot at a time; thin_delta reads nothing else of a live pool."""
        if not self.tools:
            raise FileNotFoundError(name)
        if arguments == ('--version',):
            return 0, '0.9.0\n', ''
        if name == 'dmsetup':
            wanted = arguments[-1] == 'reserve_metadata_snap'
            assert arguments == ('message', f'{self.group}-{self.pool}-tpool', '0', arguments[-1])
            if wanted == self.reserved:
                return 1, '', 'device-mapper: message ioctl failed: Device or resource busy'
            self.reserved = wanted
            return 0, '', ''
        option, one, first, two, second, path = arguments
        assert (option, one, two, path) == ('-m', '--snap1', '--snap2', f'/dev/mapper/{self.group}-{self.pool}_tmeta')
        if not self.reserved or (first, second) not in self.deltas:
            return 1, '', 'no current metadata snap'
        return 0, self.deltas[first, second], ''

    def _lvcreate(self, *arguments: str) -> str:
        if '--snapshot' in arguments:
            flag, skip, n, name_option, name, tag_option, tag, origin = arguments
            assert (flag, skip, n) == ('--snapshot', '--setactivationskip', 'n')
            size = self._find(origin).size
        else:
            size_option, text, pool_option, pool, name_option, name, tag_option, tag = arguments
            assert (size_option, pool_option) == ('--virtualsize', '--thinpool')
            assert pool == f'{self.group}/{self.pool}'
            size = self._bytes(text)
        assert (name_option, tag_option) == ('--name', '--addtag')
        self._check_new(name)
        self.volumes[name] = _Lv(size, {tag}, thin_id=next(self._ids))
        return ''

    def _lvextend(self, option: str, text: str, name: str) -> str:
        assert option == '--size'
        volume, size = self._find(name), self._bytes(text)
        if size <= volume.size:
            raise OSError('New size given is not larger than existing size')
        self._check_room()
        volume.size = size
        return ''

    def _lvrename(self, group: str, old: str, new: str) -> str:
        volume = self._find(f'{group}/{old}')
        self._check_new(new)
        del self.volumes[old]
        self.volumes[new] = volume
        return ''

    def _lvremove(self, force: str, name: str) -> str:
        assert force == '--force'
        volume = self._find(name)
        if any(one is volume and self.is_open(path) for path, one in self.opened.items()):
            raise OSError(f'Logical volume {name} in use.')
        del self.volumes[name.partition('/')[2]]
        return ''

    def _lvchange(self, option: str, value: str, name: str) -> str:
        assert (option, value) == ('--activate', 'y')
        self._find(name).active = True
        return ''

    def _lvs(self, *arguments: str) -> str:
        *options, fields, what = arguments
        assert options == ['--reportformat', 'json', '--units', 'b', '--nosuffix', '--options']
        pool = {'lv_name': self.pool, 'lv_size': str(self.size), 'data_percent': '25.00', 'lv_tags': '', 'pool_lv': ''}
        pool |= {'thin_id': '', 'lv_active': 'active', 'zero': 'zero' if self.zeroes else ''}
        rows = [pool, *(self._row(name, volume) for name, volume in self.volumes.items())]
        if what != self.group:
            assert what == f'{self.group}/{self.pool}'
            rows = [pool]
        return json.dumps({'report': [{'lv': [{name: row[name] for name in fields.split(',')} for row in rows]}]})

    def _row(self, name: str, volume: _Lv) -> dict[str, str]:
        tags = ','.join(sorted(volume.tags))
        size = str(volume.size)
        row = {
            'thin_id': str(volume.thin_id),
            'lv_name': name,
            'lv_size': size,
            'pool_lv': self.pool,
            'data_percent': '50.00',
            'lv_tags': tags,
        }
        return row | {'lv_active': 'active' if volume.active else '', 'data_percent': '50.00' if volume.active else ''}

    def _find(self, path: str) -> _Lv:
        group, _, name = path.partition('/')
        assert group == self.group
        return self.volumes[name]

    def _check_new(self, name: str) -> None:
        for reserved in ('snapshot', 'pvmove'):
            if name.startswith(reserved):
                raise ValueError(f'Names starting "{reserved}" are reserved. Please choose a different LV name.')
        if not re.fullmatch(r'[A-Za-z0-9+_.][A-Za-z0-9+_.-]{0,126}', name):
            raise ValueError(f'Logical volume name "{name}" is invalid.')
        if name in self.volumes:
            raise OSError(f'Logical Volume "{name}" already exists in volume group "{self.group}"')
        self._check_room()

    def _check_room(self) -> None:
        if self.full:
            raise OSError(self.full)

    def _bytes(self, text: str) -> int:
        assert text.endswith('b')
        return -(-int(text[:-1]) // self.EXTENT) * self.EXTENT
