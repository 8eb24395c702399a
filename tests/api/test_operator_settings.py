"""Settings that operators know from cinder.conf: parameter and variable reach the functions, and have their effect."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib import config
from chalicelib.clients.glance import Images
from chalicelib.models import base
from chalicelib.operations import cloud, pools
from infra import render, values
from local.settings import OF_FUNCTIONS, TEXTS, Settings
from tests.api.front_door import Caller
from tests.api.records import Records
from tests.fake_glance import FakeGlance, serving
from tests.fake_nova import NoTokens


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Sets variables of the functions."""

    def put(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        config.settings.cache_clear()
        pools.config.cache_clear()

    yield put
    monkeypatch.undo()
    config.settings.cache_clear()
    pools.config.cache_clear()


def template() -> Any:
    return json.loads((render.templates() / 'template.json').read_text())


@pytest.mark.parametrize(('variable', 'parameter'), [*OF_FUNCTIONS.items(), ('POLICY_OVERRIDES', 'PolicyOverrides')])
def test_a_parameter_and_a_variable_reach_the_functions(variable: str, parameter: str) -> None:
    """In the template that is deployed, from which the local cloud also starts."""
    found = template()
    given = {'DEFAULT_QUOTAS': '{"volumes": 3}', 'SCHEDULER_OPTIONS': '{"scheduler_max_attempts": 4}',
             'POLICY_OVERRIDES': '{"a:b":"role:x"}', 'DEFAULT_VOLUME_TYPE': 'gold'}.get(variable, '200')  # fmt: skip
    given = '7' if variable == 'SCHEDULER_MAX_ATTEMPTS' else given
    local = Settings.from_environment({variable: given}).parameters({}, {})
    passed = found['Globals']['Function']['Environment']['Variables'][variable]

    assert local[parameter] == given
    assert parameter in found['Parameters']
    if 'Ref' in passed:
        assert passed == {'Ref': parameter}
    else:
        condition, name, empty = passed['Fn::If']
        [document] = [each['Properties'] for each in found['Resources'].values() if each.get('Condition') == condition]
        assert (document['Value'], document['Name'], empty) == ({'Ref': parameter}, name, '')


@pytest.mark.parametrize(('variable', 'parameter'), OF_FUNCTIONS.items())
def test_defaults_are_the_same_everywhere(variable: str, parameter: str) -> None:
    facts = template()['Parameters'][parameter]
    assert str(facts['Default']) == TEXTS[variable] == str(config.DEFAULTS.get(variable.lower(), ''))
    if parameter in values.RANGES:
        assert (int(facts['MinValue']), int(facts['MaxValue'])) == values.RANGES[parameter]


def test_a_page_has_at_most_the_configured_records(configured: Any, member: Caller, project: str) -> None:
    records = Records(project)
    for _ in range(3):
        records.volume()
    configured(OSAPI_MAX_LIMIT='2')

    for query in ('', '?limit=3'):
        body = member.get(f'/volumes{query}').body
        assert (len(body['volumes']), body['volumes_links'][0]['rel']) == (2, 'next')


def test_volumes_have_the_configured_type(configured: Any, member: Caller, project: str) -> None:
    kind = Records(project).type()
    configured(DEFAULT_VOLUME_TYPE=kind.name)

    assert member.post('/volumes', {'volume': {'size': 1}}).body['volume']['volume_type'] == kind.name
    assert member.get('/types/default').body['volume_type']['name'] == kind.name


def test_projects_have_the_configured_quotas(configured: Any, member: Caller, admin: Caller, project: str) -> None:
    configured(DEFAULT_QUOTAS='{"volumes": 1, "gigabytes": -1, "per_volume_gigabytes": 5}')

    shown = member.get(f'/os-quota-sets/{project}').body['quota_set']
    assert (shown['volumes'], shown['gigabytes'], shown['snapshots']) == (1, -1, 10)
    assert member.get('/limits').body['limits']['absolute']['maxTotalVolumes'] == 1
    assert admin.get(f'/os-quota-sets/{project}/defaults').body['quota_set']['volumes'] == 1
    assert admin.get('/os-quota-class-sets/default').body['quota_class_set']['volumes'] == 1
    assert member.post('/volumes', {'volume': {'size': 6}}).status == 413
    assert member.post('/volumes', {'volume': {'size': 1}}).status == 202
    assert member.post('/volumes', {'volume': {'size': 1}}).status == 413


def test_attempts_and_report_age_reach_the_scheduler(configured: Any, project: str) -> None:
    configured(SCHEDULER_MAX_ATTEMPTS='5', REPORT_MAX_AGE='130')
    assert (pools.config().scheduler_max_attempts, pools.config().report_max_age) == (5, 130)
    configured(SCHEDULER_OPTIONS='{"scheduler_max_attempts": 2}')
    assert pools.config().scheduler_max_attempts == 2


def test_a_backend_is_down_after_the_configured_age(configured: Any, admin: Caller, project: str) -> None:
    host = f'{project}@lvm'
    Records(project).service(host, heartbeat_at=base.after(-200))

    def state() -> str:
        shown = admin.get('/os-services').body['services']
        return next(str(one['state']) for one in shown if one['host'] == host)

    before = state()
    configured(REPORT_MAX_AGE='130')
    assert (before, state()) == ('up', 'down')


def test_larger_images_are_refused(
    configured: Any, member: Caller, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = Records(project).volume(size=3)
    with serving(FakeGlance()) as running:
        monkeypatch.setattr(cloud, 'images', lambda: Images(running.url, NoTokens()))
        id = running.add(b'data', virtual_size=3 << 30)
        create = {'volume': {'size': 3, 'imageRef': id}}
        upload = {'image_name': 'x', 'disk_format': 'raw', 'container_format': 'bare'}
        configured(MAX_IMAGE_GIGABYTES='2')
        assert '3 GiB, and at most 2 GiB' in member.post('/volumes', create).text
        answer = member.act(f'/volumes/{large.id}', 'os-volume_upload_image', upload)
        assert (answer.status, '3 GiB, and at most 2 GiB' in answer.text) == (400, True)
        configured(MAX_IMAGE_GIGABYTES='3')
        assert member.post('/volumes', create).status == 202
