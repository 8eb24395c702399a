"""The Barbican port against one that keeps its API, and one that fails."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chalicelib.clients.barbican import Key, Secrets
from chalicelib.errors import SecretNotFound, ServiceUnavailable
from tests.fake_barbican import FakeBarbican, serving

KEY = bytes(range(32))


class TokenOf:
    def __init__(self, project: str) -> None:
        self.project = project

    def service_token(self, refused: str | None = None) -> str:
        return f'{self.project}/member'


@pytest.fixture
def barbican() -> Iterator[FakeBarbican]:
    with serving(FakeBarbican()) as running:
        yield running


@pytest.fixture
def secrets(barbican: FakeBarbican) -> Secrets:
    return Secrets(barbican.url, TokenOf('project'))


def make(secrets: Secrets) -> str:
    return secrets.create(KEY, algorithm='aes', bit_length=256, mode='cbc')


def test_make_read_and_delete(barbican: FakeBarbican, secrets: Secrets) -> None:
    id = make(secrets)
    assert barbican.secrets[id][0] == 'project'
    assert secrets.get(id) == Key(KEY, 'aes', 256)
    secrets.delete(id)
    secrets.delete(id)
    with pytest.raises(SecretNotFound):
        secrets.get(id)


def test_another_projects_secret_is_not_there(barbican: FakeBarbican, secrets: Secrets) -> None:
    with pytest.raises(SecretNotFound):
        Secrets(barbican.url, TokenOf('another')).get(make(secrets))


@pytest.mark.parametrize('faults', [[500], [0, 500], [401, 401], [0, 204]])
def test_failures(barbican: FakeBarbican, secrets: Secrets, faults: list[int]) -> None:
    id = make(secrets)
    barbican.faults = faults
    with pytest.raises(ServiceUnavailable, match='The key manager answered'):
        secrets.get(id)


def test_answers_that_are_no_secrets(barbican: FakeBarbican, secrets: Secrets) -> None:
    barbican.secrets['x'] = 'project', {}, KEY
    with pytest.raises(ServiceUnavailable, match='not a secret'):
        secrets.get('x')
    barbican.faults = [201]
    with pytest.raises(ServiceUnavailable, match='without a secret_ref'):
        make(secrets)


def test_a_key_is_not_shown_by_accident() -> None:
    assert '\\x' not in repr(Key(KEY, 'aes', 256))
