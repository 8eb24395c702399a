from __future__ import annotations

import json
import threading
from typing import Any, ClassVar

import pytest

from chalicelib.drivers import registry
from chalicelib.drivers.base import Driver, Option
from chalicelib.drivers.registry import Backends, load
from chalicelib.errors import BackendMisconfigured, HostNotFound

SECRETS = {'cinderless/fast': 'plain text', 'cinderless/json': '{"hmac": "of json", "number": 5}'}


class StubDriver(Driver):
    """As much of a driver as the registry needs."""

    OPTIONS: ClassVar = {
        'url': Option(str, required=True),
        'ratio': Option(float, default=1.5),
        'tries': Option(int),
        'verify': Option(bool, default=True),
        'key': Option(str, required=True, secret=True),
    }

    def get_volume_stats(self) -> dict[str, Any]:
        pools = [{'pool_name': 'a', 'reserved_percentage': 0, 'multiattach': True}, {'pool_name': 'b'}]
        return {'volume_backend_name': self.backend, 'storage_protocol': 'iSCSI', 'pools': pools}


StubDriver.__abstractmethods__ = frozenset()


@pytest.fixture(autouse=True)
def _stub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, 'DRIVERS', {**registry.DRIVERS, 'stub': (__name__, 'StubDriver')})


def backend(**changes: Any) -> dict[str, Any]:
    entry = {
        'name': 'fast',
        'driver': 'stub',
        'options': {'url': 'https://192.0.2.10:18700'},
        'secrets': {'key': {'secret': 'cinderless/fast'}},
    } | changes
    return {key: value for key, value in entry.items() if value is not ...}


def loaded(*entries: Any, **top: Any) -> Backends:
    return load(json.dumps({'backends': list(entries), **top}), SECRETS.__getitem__)


def test_hosts_are_named_after_backends() -> None:
    assert loaded(backend(), backend(name='slow')).names() == ['cinderless@fast', 'cinderless@slow']
    assert loaded(backend(), host='site1').names() == ['site1@fast']
    assert load({'backends': []}, SECRETS.__getitem__).names() == []


def test_a_driver_has_its_options_its_secrets_and_defaults() -> None:
    driver = loaded(backend(options={'url': 'u', 'tries': 3})).driver('cinderless@fast')
    assert isinstance(driver, StubDriver)
    assert driver.backend == 'fast'
    expected = {'url': 'u', 'ratio': 1.5, 'tries': 3, 'verify': True, 'key': 'plain text'}
    assert driver.options == expected


def test_a_pool_s_driver_is_its_backend_s_and_made_once_per_thread() -> None:
    backends = loaded(backend(), backend(name='slow'))
    first = backends.driver('cinderless@fast#gold')
    assert backends.driver('cinderless@fast') is backends.driver('cinderless@fast#silver') is first
    assert backends.driver('cinderless@slow') is not first
    elsewhere: list[Driver] = []
    thread = threading.Thread(target=lambda: elsewhere.append(backends.driver('cinderless@fast')))
    thread.start()
    thread.join()
    assert elsewhere[0] is not first


@pytest.mark.parametrize('host', ['cinderless@other', 'fast', '', 'cinderless@fast@x', 'other@fast#a'])
def test_an_unknown_host_is_not_found(host: str) -> None:
    with pytest.raises(HostNotFound, match='could not be found'):
        loaded(backend()).driver(host)


def test_a_secret_may_be_a_key_of_a_json_object() -> None:
    driver = loaded(backend(secrets={'key': {'secret': 'cinderless/json', 'key': 'hmac'}})).driver('cinderless@fast')
    assert driver.options['key'] == 'of json'


def test_secrets_are_asked_for_when_a_driver_is_made() -> None:
    asked: list[str] = []

    def resolve(name: str) -> str:
        asked.append(name)
        return 'x'

    backends = load({'backends': [backend(), backend(name='slow')]}, resolve)
    assert asked == []
    backends.driver('cinderless@fast')
    assert asked == ['cinderless/fast']


@pytest.mark.parametrize(
    'place', [{'secret': 'cinderless/fast', 'key': 'hmac'}, {'secret': 'cinderless/json', 'key': 'x'}]
)
def test_a_secret_without_its_key_is_told_without_its_text(place: dict[str, str]) -> None:
    with pytest.raises(BackendMisconfigured) as error:
        loaded(backend(secrets={'key': place})).driver('cinderless@fast')
    assert place['key'] in error.value.message
    assert place['secret'] in error.value.message
    assert 'plain text' not in error.value.message
    assert 'of json' not in error.value.message


@pytest.mark.parametrize(
    ('entry', 'names'),
    [
        (backend(name=...), ['backends[0]', 'name']),
        (backend(driver=...), ['backends[0]', 'driver']),
        (backend(name='a@b'), ['name', "'a@b'"]),
        (backend(name='a#b'), ['name', "'a#b'"]),
        (backend(name=5), ['name', 'str']),
        (backend(driver='lvm'), ["'lvm'", 'appliance']),
        (backend(pool='x'), ["'pool'", 'allowed are']),
        (backend(options=[]), ['options', 'dict']),
        (backend(secrets={'key': 'plain'}), ['secrets.key', '"secret"']),
        (backend(secrets={'key': {'secret': 5}}), ['secrets.key']),
        (backend(secrets={'key': {'secret': 'a', 'path': 'b'}}), ['secrets.key', "'path'"]),
        (backend(capabilities='x'), ['capabilities', 'dict']),
        (backend(reserved_percentage=101), ['reserved_percentage', '101']),
        (backend(reserved_percentage=True), ['reserved_percentage', 'True']),
        (backend(max_over_subscription_ratio=0.5), ['max_over_subscription_ratio', '0.5']),
        (backend(max_over_subscription_ratio='20'), ['max_over_subscription_ratio', "'20'"]),
        (backend(filter_function=1), ['filter_function']),
        ('fast', ['backends[0]', 'JSON object']),
    ],
)
def test_a_wrong_entry_is_refused_with_its_key(entry: Any, names: list[str]) -> None:
    with pytest.raises(BackendMisconfigured) as error:
        loaded(entry)
    for name in names:
        assert name in error.value.message


@pytest.mark.parametrize(
    ('document', 'reason'),
    [('{', 'not JSON'), ('[]', 'not a JSON object'), ('{}', 'list under backends'), ('{"backends": {}}', 'list'),
     ('{"backends": [], "host": "a@b"}', 'host'), ('{"backends": [], "version": 1}', "'version'")],
)  # fmt: skip
def test_a_wrong_document_is_refused(document: str, reason: str) -> None:
    with pytest.raises(BackendMisconfigured, match=reason):
        load(document, SECRETS.__getitem__)


def test_a_backend_cannot_be_there_twice() -> None:
    with pytest.raises(BackendMisconfigured, match=r'cinderless@fast.*twice'):
        loaded(backend(), backend())


@pytest.mark.parametrize(
    ('changes', 'names'),
    [
        ({'options': {}}, ['options.url', 'missing']),
        ({'options': {'url': 5}}, ['options.url', 'str']),
        ({'options': {'url': 'u', 'tries': True}}, ['options.tries', 'int']),
        ({'options': {'url': 'u', 'tries': 1.5}}, ['options.tries']),
        ({'options': {'url': 'u', 'ratio': '2'}}, ['options.ratio']),
        ({'options': {'url': 'u', 'verify': 0}}, ['options.verify', 'bool']),
        ({'options': {'url': 'u', 'colour': 'red'}}, ["'colour'", 'allowed are']),
        ({'secrets': {}}, ['secrets.key', 'missing']),
        ({'secrets': {'other': {'secret': 'a'}}}, ["'other'"]),
        ({'options': {'url': 'u', 'key': 'in clear'}, 'secrets': ...}, ['options.key', 'secret']),
        ({'options': {'url': 'u', 'key': 'in clear'}}, ['options.key', 'secret']),
    ],
)
def test_wrong_options_are_that_backend_s_fault_alone(changes: dict[str, Any], names: list[str]) -> None:
    backends = loaded(backend(**changes), backend(name='slow'))
    with pytest.raises(BackendMisconfigured) as error:
        backends.driver('cinderless@fast')
    for name in ['cinderless@fast', *names]:
        assert name in error.value.message
    assert 'in clear' not in error.value.message
    assert backends.driver('cinderless@slow')
    with pytest.raises(BackendMisconfigured):
        backends.check()


def test_a_whole_number_is_a_ratio_too() -> None:
    loaded(backend(options={'url': 'u', 'ratio': 2}, max_over_subscription_ratio=5)).check()


def test_the_report_has_the_document_s_settings_on_every_pool() -> None:
    entry = backend(
        volume_backend_name='gold', capabilities={'tier': 'one', 'multiattach': False}, reserved_percentage=10,
        filter_function='a > b', availability_zone='zone-1',
    )  # fmt: skip
    report = loaded(entry).report('cinderless@fast')
    assert report['volume_backend_name'] == 'gold'
    settings = {'tier': 'one', 'multiattach': False, 'reserved_percentage': 10, 'filter_function': 'a > b'}
    assert report['pools'] == [{'pool_name': 'a', **settings}, {'pool_name': 'b', **settings}]
    assert loaded(entry).backend('cinderless@fast#a').availability_zone == 'zone-1'


def test_without_settings_the_report_is_the_driver_s() -> None:
    backends = loaded(backend())
    assert backends.report('cinderless@fast') == backends.driver('cinderless@fast').get_volume_stats()


def test_the_documented_example_is_right() -> None:
    assert registry.__doc__ is not None
    example = registry.__doc__[registry.__doc__.index('{') : registry.__doc__.rindex('}]}') + 3]
    example = example.replace('"..."', f'"{"ab" * 32}"')
    backends = load(example, lambda name: json.dumps({'hmac': 'x' * 40}))
    backends.check()
    assert backends.names() == ['cinderless@fast']
