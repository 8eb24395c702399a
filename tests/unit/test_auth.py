"""Headers -> Context, and the context itself."""

from __future__ import annotations

import dataclasses
import re

import pytest

from chalicelib.api.auth import authenticate, unauthorized_response
from chalicelib.context import Context, TokenFacts, implied_roles, new_request_id
from chalicelib.errors import PolicyNotAuthorized, ServiceUnavailable, Unauthorized

DEMO = TokenFacts('user-demo', 'project-demo', frozenset({'member', 'reader'}), 2e9)
NOVA = TokenFacts('user-nova', 'project-service', frozenset({'service'}), 2e9)
UNSCOPED = TokenFacts('user-demo', None, frozenset(), 2e9)

UUID = '0a1b2c3d-0000-4000-8000-0123456789ab'


class Issuer:
    """A TokenValidator over a dictionary; tokens that start with ``old`` have run out."""

    def __init__(self, **tokens: TokenFacts) -> None:
        self.tokens = tokens
        self.requests: list[tuple[str, bool]] = []

    def validate(self, token: str, *, allow_expired: bool = False) -> TokenFacts:
        self.requests.append((token, allow_expired))
        if token not in self.tokens or (token.startswith('old') and not allow_expired):
            raise Unauthorized
        return self.tokens[token]


@pytest.fixture
def issuer() -> Issuer:
    return Issuer(demo=DEMO, old_demo=DEMO, nova=NOVA, old_nova=NOVA, unscoped=UNSCOPED)


def test_a_token_becomes_a_context(issuer: Issuer) -> None:
    context = authenticate({'x-auth-token': 'demo'}, issuer)

    assert (context.user_id, context.project_id) == ('user-demo', 'project-demo')
    assert context.roles == {'member', 'reader'}
    assert context.service_roles == frozenset()
    assert not context.is_admin
    assert not context.is_service_request
    assert context.microversion == (3, 0)
    assert issuer.requests == [('demo', False)]


@pytest.mark.parametrize('headers', [{}, {'x-auth-token': ''}, {'x-auth-token': ' '}, {'X-Auth-Token': 'demo'}])
def test_no_token(issuer: Issuer, headers: dict[str, str]) -> None:
    with pytest.raises(Unauthorized):
        authenticate(headers | {'x-service-token': 'nova'}, issuer)
    assert issuer.requests == []


def test_white_space_around_a_token_is_no_part_of_it(issuer: Issuer) -> None:
    assert authenticate({'x-auth-token': ' demo\t', 'x-service-token': ' nova '}, issuer).is_service_request


@pytest.mark.parametrize('token', ['forged', 'old_demo'])
def test_a_token_that_is_not_valid(issuer: Issuer, token: str) -> None:
    with pytest.raises(Unauthorized):
        authenticate({'x-auth-token': token}, issuer)


def test_a_token_without_a_project(issuer: Issuer) -> None:
    with pytest.raises(PolicyNotAuthorized, match='request one with a project scope'):
        authenticate({'x-auth-token': 'unscoped'}, issuer)


class TestServiceTokens:
    def test_a_service_vouches(self, issuer: Issuer) -> None:
        context = authenticate({'x-auth-token': 'demo', 'x-service-token': 'nova'}, issuer)

        assert context.is_service_request
        assert context.service_roles == {'service'}
        assert context.roles == {'member', 'reader'}
        assert context.user_id == 'user-demo'

    def test_it_carries_a_users_token_past_its_end(self, issuer: Issuer) -> None:
        assert authenticate({'x-auth-token': 'old_demo', 'x-service-token': 'nova'}, issuer).user_id == 'user-demo'

    @pytest.mark.parametrize('token', ['forged', 'old_nova', 'demo', 'unscoped'])
    def test_one_that_is_not_a_services_spoils_the_request(self, issuer: Issuer, token: str) -> None:
        with pytest.raises(Unauthorized):
            authenticate({'x-auth-token': 'demo', 'x-service-token': token}, issuer)

    def test_the_role_service_on_the_users_own_token_vouches_for_nothing(self, issuer: Issuer) -> None:
        assert not authenticate({'x-auth-token': 'nova'}, issuer).is_service_request


def test_an_issuer_without_an_answer_is_not_a_no(issuer: Issuer) -> None:
    class Down:
        def validate(self, token: str, *, allow_expired: bool = False) -> TokenFacts:
            raise ServiceUnavailable(reason='no answer')

    with pytest.raises(ServiceUnavailable):
        authenticate({'x-auth-token': 'demo'}, Down())


@pytest.mark.parametrize(
    ('sent', 'taken'),
    [
        (f'req-{UUID}', f'req-{UUID}'),
        (UUID, None),
        (f'req-{UUID}\n', None),
        (f'req-{UUID}0', None),
        ('req-everything', None),
        ('', None),
    ],
)
def test_the_callers_request_id(issuer: Issuer, sent: str, taken: str | None) -> None:
    context = authenticate({'x-auth-token': 'demo', 'x-openstack-request-id': sent}, issuer)

    assert context.global_request_id == taken
    assert context.request_id != sent


def test_case_is_no_part_of_a_role_for_policies_and_is_for_a_service() -> None:
    shouting = Issuer(it=TokenFacts('u', 'p', frozenset({'Admin', 'SERVICE'}), 2e9))

    assert authenticate({'x-auth-token': 'it'}, shouting).roles == {'admin', 'service'}
    with pytest.raises(Unauthorized):
        authenticate({'x-auth-token': 'it', 'x-service-token': 'it'}, shouting)


def test_every_request_has_an_id_of_its_own(issuer: Issuer) -> None:
    ids = {authenticate({'x-auth-token': 'demo'}, issuer).request_id for _ in range(20)}

    assert len(ids) == 20
    assert all(re.fullmatch(r'req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}', id) for id in ids)
    assert new_request_id() not in ids


def test_nothing_in_a_context_is_the_token() -> None:
    issuer = Issuer(**{'secret-token': DEMO, 'secret-service': NOVA})
    context = authenticate({'x-auth-token': 'secret-token', 'x-service-token': 'secret-service'}, issuer)

    assert 'secret' not in repr(context)


def test_a_context_does_not_change() -> None:
    context = Context(user_id='u', project_id='p', roles=frozenset({'member'}))

    with pytest.raises(dataclasses.FrozenInstanceError):
        context.roles = frozenset({'admin'})  # type: ignore[misc]
    assert not hasattr(context, '__dict__')
    assert dataclasses.replace(context, microversion=(3, 71)).microversion == (3, 71)


def test_only_the_role_admin_makes_an_admin() -> None:
    for role in ('manager', 'member', 'reader', 'service', 'administrator'):
        assert not Context(user_id='u', project_id='p', roles=frozenset({role})).is_admin
    assert Context(user_id='u', project_id='p', roles=frozenset({'admin'})).is_admin


@pytest.mark.parametrize(
    ('roles', 'all_roles'),
    [
        ([], set()),
        (['reader'], {'reader'}),
        (['member'], {'member', 'reader'}),
        (['manager'], {'manager', 'member', 'reader'}),
        (['admin'], {'admin', 'manager', 'member', 'reader'}),
        (['service'], {'service'}),
        (['service', 'member', 'auditor'], {'service', 'member', 'reader', 'auditor'}),
    ],
)
def test_implied_roles(roles: list[str], all_roles: set[str]) -> None:
    assert implied_roles(roles) == all_roles


def test_a_401_speaks_as_keystonemiddleware_does() -> None:
    headers, body = unauthorized_response('http://cloud.test/identity/v3')

    assert headers == {'WWW-Authenticate': 'Keystone uri="http://cloud.test/identity/v3"'}
    assert body == {
        'error': {
            'code': 401,
            'title': 'Unauthorized',
            'message': 'The request you have made requires authentication.',
        }
    }
