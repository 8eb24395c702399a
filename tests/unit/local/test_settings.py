"""The environment of ``make run``."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from local.settings import PACK_SIZE, Refused, Settings


def test_defaults_are_those_of_the_readme() -> None:
    settings = Settings.from_environment({})
    assert (settings.port, settings.aws_port, settings.iscsi_port, settings.appliance_port) == (8776, 4566, 3260, 18700)
    assert settings.state_dir == Path('.local').absolute()
    assert settings.identity_url == 'http://127.0.0.1:8776/identity/v3'
    assert settings.keystone_username == 'cinder'
    assert settings.keystone_project == 'service'


def test_an_external_keystone_is_the_identity() -> None:
    settings = Settings.from_environment({'KEYSTONE_URL': 'http://keystone:5000/v3', 'KEYSTONE_PASSWORD': 'secret'})
    assert settings.identity_url == 'http://keystone:5000/v3'
    parameters = settings.parameters({}, {})
    assert parameters['KeystoneUrl'] == 'http://keystone:5000/v3'
    assert parameters['KeystonePassword'] == 'secret'


@pytest.mark.parametrize('text', ['http', '-1', '0', '65536', '\u00b2', '\u0663', '9' * 5000])
def test_a_wrong_port_is_refused_with_its_name_and_value(text: str) -> None:
    with pytest.raises(ValueError, match=f"AWS_PORT='{text}'"):
        Settings.from_environment({'AWS_PORT': text})


def test_two_variables_with_one_port_are_refused() -> None:
    with pytest.raises(Refused, match='AWS_PORT=8776 is also the port of PORT'):
        Settings.from_environment({'AWS_PORT': '8776'})


def test_backends_are_given_or_the_default_ones() -> None:
    default = {'lvm': {}}
    assert Settings.from_environment({}).parameters(default, {})['Backends'] == '{"lvm": {}}'
    assert Settings.from_environment({'BACKENDS': '{"a":1}'}).parameters(default, {})['Backends'] == '{"a":1}'


def test_backends_that_are_no_json_are_refused() -> None:
    with pytest.raises(ValueError, match='BACKENDS'):
        Settings.from_environment({'BACKENDS': '{'})


def test_packs_are_small_for_moto() -> None:
    assert Settings.from_environment({}).parameters({}, {})['PackSize'] == str(PACK_SIZE) == '8388608'


@pytest.mark.parametrize('name', ['STATE', 'DYNAMODB', 'FRESH', 'DEBUG'])
def test_a_word_that_means_nothing_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}='yes please'"):
        Settings.from_environment({name: 'yes please'})


def test_backends_may_be_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / 'backends.json').write_text('{"a": 1}')
    monkeypatch.chdir(tmp_path.parent)
    for text in (f'{tmp_path}/backends.json', f'@{tmp_path}/backends.json', f'{tmp_path.name}/backends.json'):
        assert Settings.from_environment({'BACKENDS': text}).backends == '{"a": 1}'
    with pytest.raises(ValueError, match='BACKENDS=/nowhere: the file cannot be read'):
        Settings.from_environment({'BACKENDS': '/nowhere'})


@pytest.mark.parametrize('content', [b'{', b'\xff\xfe', b'[' * 100_000])
def test_a_file_of_backends_that_is_not_json_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / 'backends.json').write_bytes(content)
    with pytest.raises(Refused, match=f'BACKENDS={tmp_path}/backends.json'):
        Settings.from_environment({'BACKENDS': f'{tmp_path}/backends.json'})


def test_it_listens_on_loopback_unless_told_otherwise() -> None:
    for environment in ({}, {'LISTEN': ''}, {'LISTEN': '127.0.0.2'}):
        settings = Settings.from_environment(environment)
        assert not settings.is_open
        assert settings.host == (environment.get('LISTEN') or '127.0.0.1')
    settings = Settings.from_environment({'LISTEN': '::', 'ADVERTISE': '2001:db8::1', 'TLS': '1'})
    assert settings.is_open
    assert (settings.url, settings.aws_url) == ('https://[2001:db8::1]:8776', 'http://127.0.0.1:4566')
    assert settings.identity_url == 'https://[2001:db8::1]:8776/identity/v3'


@pytest.mark.parametrize(
    ('environment', 'refused'),
    [
        ({'LISTEN': 'storage.example'}, 'LISTEN=storage.example: give an IP address'),
        ({'LISTEN': '0.0.0.0'}, 'LISTEN=0.0.0.0 is every address: set ADVERTISE'),
        ({'LISTEN': '0.0.0.0', 'ADVERTISE': '0.0.0.0'}, 'ADVERTISE=0.0.0.0: give'),
        ({'ADVERTISE': 'http://storage'}, 'ADVERTISE=http://storage: give a host name'),
        ({'ADVERTISE': 'storage:8776'}, 'without a port'),
        ({'TLS_KEY': 'key.pem'}, 'TLS_KEY=key.pem has no certificate'),
        ({'TLS': 'yes'}, "TLS='yes'"),
        ({'INSECURE': 'yes'}, "INSECURE='yes'"),
    ],
)
def test_addresses_that_lead_nowhere_are_refused(environment: dict[str, str], refused: str) -> None:
    with pytest.raises(Refused, match=re.escape(refused)):
        Settings.from_environment(environment)
