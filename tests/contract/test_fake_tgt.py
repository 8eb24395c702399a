"""The unit tests' tgtd is as strict as the real one: given the same requests, both answer alike."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.daemon import Daemon
from appliance.tgt import Mode, Op, Tgt, TgtError
from local.children import free_port
from tests.unit.appliance.fakes import FakeTgt

TIDS, USERS, NAMES = (1, 2), ('u1', 'u2', 'u3'), ('iqn.2026-01.a:h', 'iqn.2026-01.a:i')


@pytest.fixture(scope='module')
def tgt() -> Iterator[Tgt]:
    daemon = Daemon(random.randrange(20000, 32000), [f'127.0.0.1:{free_port()}'])
    yield daemon.tgt
    daemon.stop()


@pytest.fixture(scope='module')
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('lun') / 'image'
    path.write_bytes(bytes(1024**2))
    return path


def requests(mode: Mode, op: Op, *parameters: str, **where: Any) -> st.SearchStrategy[dict[str, Any]]:
    tid = {'tid': st.sampled_from(TIDS)} if where.pop('target', True) else {}
    fixed = {'mode': st.just(mode), 'op': st.just(op), 'parameters': st.sampled_from(parameters or ('',))}
    return st.fixed_dictionaries({**fixed, **tid, **{name: st.just(value) for name, value in where.items()}})


def anything(image: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Requests about two targets, three accounts and two initiators. No "show": what it meets may end tgtd."""
    users, names = [f'user={user}' for user in USERS], [f'initiator-name={name}' for name in NAMES]
    paths = [f'path={image}', f'path={image},bsoflags=direct', 'path=/nowhere']
    iqns = [f'targetname=iqn.2026-01.t:{tid}' for tid in TIDS]
    return st.lists(
        st.one_of(
            requests(Mode.TARGET, Op.NEW, *iqns),
            requests(Mode.TARGET, Op.DELETE, force=True),
            requests(Mode.TARGET, Op.UPDATE, 'state=offline', 'state=ready', 'MaxBurstLength=1048576'),
            requests(Mode.TARGET, Op.BIND, *names),
            requests(Mode.TARGET, Op.UNBIND, *names),
            requests(Mode.ACCOUNT, Op.NEW, *(f'{user},password=p' for user in users), target=False),
            requests(Mode.ACCOUNT, Op.DELETE, *users, target=False),
            requests(Mode.ACCOUNT, Op.BIND, *users),
            requests(Mode.ACCOUNT, Op.UNBIND, *users),
            requests(Mode.LOGICALUNIT, Op.NEW, *paths, lun=1),
            requests(Mode.LOGICALUNIT, Op.UPDATE, 'targetOps scsi_sn=a,readonly=1,', lun=1),
            requests(Mode.LOGICALUNIT, Op.DELETE, lun=1),
            requests(Mode.CONNECTION, Op.SHOW),
            requests(Mode.CONNECTION, Op.DELETE, sid=7),
        ),
        max_size=30,
    )


def outcome(tgt: Tgt, request: dict[str, Any]) -> int | str:
    try:
        return tgt.call('answer', **request)
    except TgtError as error:
        return error.tgt_status


def reset(tgt: Tgt) -> None:
    for tid in TIDS:
        outcome(tgt, {'mode': Mode.TARGET, 'op': Op.DELETE, 'tid': tid, 'force': True})
    for user in USERS:
        outcome(tgt, {'mode': Mode.ACCOUNT, 'op': Op.DELETE, 'parameters': f'user={user}'})


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_both_answer_alike(tgt: Tgt, image: Path, data: st.DataObject) -> None:
    reset(tgt)
    fake = FakeTgt(lambda path: Path(path).stat().st_size)
    for request in data.draw(anything(str(image))):
        assert outcome(tgt, request) == outcome(fake, request), request
    if all('' not in target.seen for target in fake.live.values()):
        assert tgt.targets() == fake.targets()
