"""A real Keystone: the token client uses it, and its answers are the reference for the standalone identity.

Its environment also holds keystonemiddleware and oslo.policy: ``authenticate`` and the policy rules
must decide as they do.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import os
import re
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests
import urllib3

from chalicelib import time_left
from chalicelib.api.auth import authenticate, unauthorized_response
from chalicelib.clients import keystone as client_module
from chalicelib.clients.keystone import KeystoneTokens
from chalicelib.errors import ServiceUnavailable, Unauthorized
from chalicelib.identity.local import USERS, local_document
from chalicelib.rules.policies import POLICIES, allowed
from tests.run_statistics import Counting
from tests.unit.policy_defaults import OTHER, OWN, ROLE_SETS, RULES, context

from .cloud import start
from .keystone import Keystone, password_request, run_inside, running_keystone
from .standalone import REGION, VOLUME_URL, serving

#: One Keystone takes 15 s to create: with ``--dist loadgroup`` one worker has all these tests.
pytestmark = pytest.mark.xdist_group('keystone')

#: The same users as in the standalone identity of a local cloud; admin is there from the start.
PROJECTS = sorted({project for project, _ in USERS.values()} - {'admin'})


@pytest.fixture(scope='module')
def keystone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keystone]:
    with running_keystone(tmp_path_factory.mktemp('keystone')) as running:
        running.add_region(REGION)
        for type, name, url in [
            ('identity', 'keystone', running.url),
            ('volumev3', 'cinderv3', VOLUME_URL),
            ('block-storage', 'cinder', VOLUME_URL),
        ]:
            running.add_service(type, name, url, REGION)
        projects = {project: running.add_project(project) for project in PROJECTS}
        for user, (project, role) in USERS.items():
            if user != 'admin':
                running.add_user(user, projects[project], role)
        yield running


def client(keystone: Keystone, **changed: str) -> KeystoneTokens:
    chosen = {'username': 'cinder', 'password': 'cinder', 'project': 'service'} | changed
    return KeystoneTokens(keystone.url, chosen['username'], chosen['password'], chosen['project'])


class TestClient:
    @pytest.mark.parametrize(
        ('user', 'roles'),
        [
            ('admin', {'admin', 'manager', 'member', 'reader'}),
            ('manager', {'manager', 'member', 'reader'}),
            ('demo', {'member', 'reader'}),
            ('reader', {'reader'}),
            ('cinder', {'service'}),
        ],
    )
    def test_roles_arrive_with_what_they_imply(self, keystone: Keystone, user: str, roles: set[str]) -> None:
        token = keystone.token(user, user, USERS[user][0])
        facts = client(keystone).validate(token)

        _, body = keystone.request('GET', '/auth/tokens', token, X_Subject_Token=token)
        assert facts.roles == roles
        assert facts.user_id == body['token']['user']['id']
        assert facts.project_id == body['token']['project']['id']

    @pytest.mark.parametrize('token', ['forged', 'gAAAAAB' + 'A' * 150, '../../v3', '%00', "'"])
    def test_what_keystone_did_not_issue(self, keystone: Keystone, token: str) -> None:
        with pytest.raises(Unauthorized):
            client(keystone).validate(token)

    def test_an_unscoped_token(self, keystone: Keystone) -> None:
        facts = client(keystone).validate(keystone.token('demo', 'demo'))

        assert facts.project_id is None
        assert facts.roles == frozenset()

    def test_an_application_credential_gives_its_own_roles(self, keystone: Keystone) -> None:
        token = keystone.token('demo', 'demo', 'demo')
        path = f'/users/{client(keystone).validate(token).user_id}/application_credentials'
        fields = {'name': 'ci', 'secret': 'shh', 'roles': [{'name': 'reader'}]}
        _, made = keystone.request('POST', path, token, {'application_credential': fields})
        claim = {'id': made['application_credential']['id'], 'secret': 'shh'}
        identity = {'methods': ['application_credential'], 'application_credential': claim}

        response = urllib3.request('POST', f'{keystone.url}/auth/tokens', json={'auth': {'identity': identity}})
        assert client(keystone).validate(response.headers['X-Subject-Token']).roles == {'reader'}

    def test_a_revoked_token(self, keystone: Keystone) -> None:
        token, tokens = keystone.token('demo', 'demo', 'demo'), client(keystone)
        assert tokens.validate(token)
        keystone.revoke(token)

        assert tokens.validate(token), 'it is trusted for at most five minutes'
        with pytest.raises(Unauthorized):
            client(keystone).validate(token)

    def test_our_own_token_is_renewed_when_it_was_revoked(self, keystone: Keystone) -> None:
        tokens = client(keystone)
        with pytest.raises(Unauthorized):
            tokens.validate('forged')
        assert tokens._own is not None
        keystone.revoke(tokens._own.text)

        assert tokens.validate(keystone.token('demo', 'demo', 'demo'))

    @pytest.mark.parametrize('changed', [{'password': 'wrong'}, {'username': 'unknown'}, {'project': 'demo'}])
    def test_a_service_user_that_keystone_does_not_take(self, keystone: Keystone, changed: dict[str, str]) -> None:
        with pytest.raises(ServiceUnavailable, match='check its password and project'):
            client(keystone, **changed).validate(keystone.token('demo', 'demo', 'demo'))

    def test_a_service_user_without_the_role(self, keystone: Keystone) -> None:
        tokens = client(keystone, username='reader', password='reader', project='demo')

        with pytest.raises(ServiceUnavailable, match='it needs the role service'):
            tokens.validate(keystone.token('demo', 'demo', 'demo'))


class TestTrouble:
    def test_stopped_and_back(self, keystone: Keystone) -> None:
        token, tokens, known = keystone.token('demo', 'demo', 'demo'), client(keystone), client(keystone)
        known.validate(token)
        keystone.stop()
        try:
            assert known.validate(token)
            with pytest.raises(ServiceUnavailable):
                tokens.validate(token)
        finally:
            keystone.start()
        assert tokens.validate(token)

    def test_silent(self, keystone: Keystone, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(client_module, 'READ_TIMEOUT', 0.3)
        token = keystone.token('demo', 'demo', 'demo')
        os.kill(keystone.pid, signal.SIGSTOP)
        try:
            with pytest.raises(ServiceUnavailable, match='ReadTimeoutError'):
                client(keystone).validate(token)
        finally:
            os.kill(keystone.pid, signal.SIGCONT)

    def test_expired(self, keystone: Keystone) -> None:
        keystone.restart(expiration=1)
        try:
            token = keystone.token('demo', 'demo', 'demo')
            while urllib3_status(keystone, token) == 200:
                time.sleep(0.1)
        finally:
            keystone.restart()

        with pytest.raises(Unauthorized):
            client(keystone).validate(token)
        assert client(keystone).validate(token, allow_expired=True).roles == {'member', 'reader'}


def urllib3_status(keystone: Keystone, token: str) -> int:
    return keystone.request('GET', '/auth/projects', token)[0]


KEYSTONEMIDDLEWARE = """
    import json, logging, sys
    from keystonemiddleware import auth_token
    from webob import Request

    logging.disable()
    case = json.load(sys.stdin)
    names = {'user_id': 'HTTP_X_USER_ID', 'project_id': 'HTTP_X_PROJECT_ID', 'roles': 'HTTP_X_ROLES',
             'service_roles': 'HTTP_X_SERVICE_ROLES'}

    def app(environ, start_response):
        start_response('200 OK', [])
        return [json.dumps({name: environ.get(key) for name, key in names.items()}).encode()]

    middleware = auth_token.AuthProtocol(app, case['options'])
    answers = []
    for headers in case['requests']:
        response = Request.blank('/v3/volumes', headers=headers).get_response(middleware)
        answers.append([response.status_int, response.headers.get('WWW-Authenticate'), json.loads(response.body)])
    print(json.dumps(answers))
    """


def ours(headers: Mapping[str, str], tokens: KeystoneTokens, uri: str) -> list[Any]:
    """Answer as keystonemiddleware does in front of an application that shows the caller."""
    try:
        caller = authenticate({name.lower(): value for name, value in headers.items()}, tokens)
    except Unauthorized:
        challenge, body = unauthorized_response(uri)
        return [401, challenge['WWW-Authenticate'], body]
    shown = {'user_id': caller.user_id, 'project_id': caller.project_id, 'roles': ','.join(sorted(caller.roles))}
    return [200, None, {**shown, 'service_roles': ','.join(sorted(caller.service_roles)) or None}]


def test_a_keystone_that_is_suspended_leaves_the_api_alive(keystone: Keystone, tmp_path: Path) -> None:
    """Its kernel accepts connections, and nothing answers: unknown tokens are 503 in time, known ones are served."""
    service = {'KEYSTONE_USERNAME': 'cinder', 'KEYSTONE_PASSWORD': 'cinder'}
    with start(tmp_path, KEYSTONE_URL=keystone.url, **service) as cloud:
        known, *others = [keystone.token('demo', 'demo', 'demo') for _ in range(17)]
        url = f'{cloud.ready["volume"]}/volumes'

        def status(token: str) -> int:
            return requests.get(url, headers={'X-Auth-Token': token}, timeout=time_left.GATEWAY).status_code

        assert status(known) == 200
        os.kill(keystone.pid, signal.SIGSTOP)
        try:
            with concurrent.futures.ThreadPoolExecutor(len(others)) as pool:
                waiting = [pool.submit(status, token) for token in others]
                assert status(known) == 200
                assert requests.get(f'{cloud.ready["volume"]}/', timeout=time_left.GATEWAY).status_code == 200
                assert {each.result() for each in waiting} == {503}
        finally:
            os.kill(keystone.pid, signal.SIGCONT)
        assert status(others[0]) == 200


def test_requests_are_taken_and_refused_as_by_keystonemiddleware(keystone: Keystone) -> None:
    revoked = keystone.token('demo', 'demo', 'demo')
    keystone.revoke(revoked)
    demo, nova = keystone.token('demo', 'demo', 'demo'), keystone.token('cinder', 'cinder', 'service')
    users = [None, '', demo, f' {demo} ', keystone.token('admin', 'admin', 'admin'), nova, revoked, 'forged']
    services = [None, '', nova, demo, revoked, 'forged']
    requests = [
        {name: token for name, token in (('X-Auth-Token', user), ('X-Service-Token', service)) if token is not None}
        for user in users
        for service in services
    ]
    options = {
        'auth_type': 'password',
        'auth_url': keystone.url,
        'username': 'cinder',
        'password': 'cinder',
        'project_name': 'service',
        'user_domain_id': 'default',
        'project_domain_id': 'default',
        'www_authenticate_uri': keystone.url,
    }
    expected = run_inside(KEYSTONEMIDDLEWARE, {'options': options, 'requests': requests})
    for answer in expected:
        if answer[0] == 200:
            answer[2]['roles'] = ','.join(sorted(answer[2]['roles'].split(',')))

    tokens = client(keystone)
    assert [ours(headers, tokens, keystone.url) for headers in requests] == expected
    assert {answer[0] for answer in expected} == {200, 401}


OSLO_POLICY = """
    import json, logging, sys
    from oslo_config import cfg
    from oslo_policy import policy

    logging.disable()
    case = json.load(sys.stdin)
    options = cfg.ConfigOpts()
    options([])
    enforcer = policy.Enforcer(options, use_conf=False)
    enforcer.set_rules(policy.Rules.from_dict(case['rules']), use_conf=False)

    def decide(name, roles, project):
        facts = {'is_admin': 'admin' in roles, 'is_admin_project': True}  # as cinder.context sets them
        credentials = {'roles': roles, 'project_id': case['own'], 'user_id': 'u' * 32, **facts}
        return bool(enforcer.enforce(name, {'project_id': project}, credentials))

    print(json.dumps([
        [decide(name, roles, project) for roles in case['roles'] for project in (case['own'], case['other'])]
        for name in sorted(case['rules']) if ':' in name
    ]))
    """


def test_every_rule_decides_as_oslo_policy(counted: Counting) -> None:
    """Cinder's own check strings: tests/policies/rules.json is extracted from its package."""
    checks = {name: rule['check'] for name, rule in RULES.items() if ':' not in name or name in POLICIES}
    compared = sorted(name for name in checks if ':' in name)
    case = {'rules': checks, 'roles': [sorted(roles) for roles in ROLE_SETS], 'own': OWN, 'other': OTHER}
    expected = run_inside(OSLO_POLICY, case)

    decided = [
        [allowed(context(roles), rule, project) for roles in ROLE_SETS for project in (OWN, OTHER)] for rule in compared
    ]
    differences = [rule for rule, a, b in zip(compared, decided, expected, strict=True) if a != b]
    assert differences == []
    counted('policy decisions compared with oslo.policy', sum(map(len, expected)))
    assert {answer for row in expected for answer in row} == {True, False}


@dataclasses.dataclass(frozen=True)
class Server:
    """One of the two servers, which differ only in URL and ids."""

    url: str
    known: dict[str, str] = dataclasses.field(default_factory=dict)

    def call(self, method: str, path: str, headers: Mapping[str, str], body: Any = None) -> urllib3.BaseHTTPResponse:
        content = {'body': body} if isinstance(body, bytes) else {'json': body} if body is not None else {}
        return urllib3.request(method, self.url + path, headers=dict(headers), redirect=False, **content)

    def token(self, user: str, project: str | None) -> str:
        response = self.call('POST', '/auth/tokens', {}, password_request(user, user, project))
        return response.headers['X-Subject-Token']

    def id(self, collection: str, name: str) -> str:
        response = self.call('GET', f'/{collection}?name={name}', {'X-Auth-Token': self.token('admin', 'admin')})
        return str(response.json()[collection][0]['id'])

    def fill(self, text: str) -> str:
        """Put an id in the place of ``{users:demo}`` and a token in that of ``{token:demo@demo}``.

        Each is requested once, but every ``{fresh:...}`` is a new token.
        """
        return re.sub(r'\{(\w+):([\w@]+)\}', lambda found: self._value(found[1], found[2]), text)

    def _value(self, kind: str, name: str) -> str:
        key = f'{kind}:{name}'
        if key not in self.known or kind == 'fresh':
            user, _, project = name.partition('@')
            token = kind in ('token', 'fresh')
            self.known[key] = self.token(user, project or None) if token else self.id(kind, name)
        return self.known[key]


def shape(value: Any) -> Any:
    """Return the shape that a client's code depends on: names, nesting and types."""
    if isinstance(value, dict):
        return {key: shape(entry) for key, entry in sorted(value.items())}
    if isinstance(value, list):
        return sorted({json.dumps(shape(entry), sort_keys=True) for entry in value})
    return type(value).__name__


DOMAIN_SCOPE = {'domain': {'id': 'default'}}
SCOPE = {'project': {'id': '{projects:demo}'}}
BY_TOKEN = {'methods': ['token'], 'token': {'id': '{token:demo@demo}'}}
DEMO = {'methods': ['password'], 'password': {'user': {'id': '{users:demo}', 'password': 'demo'}}}
NAMELESS = {'methods': ['password'], 'password': {'user': {'name': 'demo', 'password': 'demo'}}}

#: (name, method, path, token, subject token, body): the requests to both.
EXCHANGES: list[tuple[str, str, str, str, str, Any]] = [
    ('version', 'GET', '', '', '', None),
    ('no token', 'GET', '/auth/tokens', '', '', None),
    ('login by name', 'POST', '/auth/tokens', '', '', password_request('demo', 'demo', 'demo')),
    ('login by id', 'POST', '/auth/tokens', '', '', {'auth': {'identity': DEMO, 'scope': SCOPE}}),
    ('login to the default project', 'POST', '/auth/tokens', '', '', {'auth': {'identity': DEMO}}),
    ('login without scope', 'POST', '/auth/tokens', '', '', {'auth': {'identity': DEMO, 'scope': 'unscoped'}}),
    ('login without catalog', 'POST', '/auth/tokens?nocatalog', '', '', password_request('demo', 'demo', 'demo')),
    ('login by token', 'POST', '/auth/tokens', '', '', {'auth': {'identity': BY_TOKEN, 'scope': SCOPE}}),
    ('wrong password', 'POST', '/auth/tokens', '', '', password_request('demo', 'wrong', 'demo')),
    ('unknown user', 'POST', '/auth/tokens', '', '', password_request('unknown', 'demo', 'demo')),
    ('foreign project', 'POST', '/auth/tokens', '', '', password_request('demo', 'demo', 'admin')),
    ('unknown project', 'POST', '/auth/tokens', '', '', password_request('demo', 'demo', 'nowhere')),
    (
        'domain scope',
        'POST',
        '/auth/tokens',
        '',
        '',
        {'auth': {'identity': DEMO, 'scope': DOMAIN_SCOPE}},
    ),
    ('system scope', 'POST', '/auth/tokens', '', '', {'auth': {'identity': DEMO, 'scope': {'system': {'all': True}}}}),
    ('unknown scope', 'POST', '/auth/tokens', '', '', {'auth': {'identity': DEMO, 'scope': {'galaxy': {}}}}),
    ('user without domain', 'POST', '/auth/tokens', '', '', {'auth': {'identity': NAMELESS}}),
    ('unknown method', 'POST', '/auth/tokens', '', '', {'auth': {'identity': {'methods': ['magic']}}}),
    ('method without proof', 'POST', '/auth/tokens', '', '', {'auth': {'identity': {'methods': ['password']}}}),
    ('no identity', 'POST', '/auth/tokens', '', '', {'auth': {}}),
    ('no auth', 'POST', '/auth/tokens', '', '', {}),
    ('no object', 'POST', '/auth/tokens', '', '', b'[]'),
    ('no JSON', 'POST', '/auth/tokens', '', '', b'{'),
    ('validate', 'GET', '/auth/tokens', '{token:cinder@service}', '{token:demo@demo}', None),
    ('validate without catalog', 'GET', '/auth/tokens?nocatalog', '{token:demo@}', '{token:demo@demo}', None),
    ('validate unscoped', 'GET', '/auth/tokens', '{token:admin@admin}', '{token:demo@}', None),
    ('validate a stranger', 'GET', '/auth/tokens', '{token:demo@demo}', '{token:alt@alt_demo}', None),
    ('validate nothing', 'GET', '/auth/tokens', '{token:admin@admin}', '', None),
    ('validate a forgery', 'GET', '/auth/tokens', '{token:demo@demo}', 'forged', None),
    ('validate by forgery', 'GET', '/auth/tokens', 'forged', '{token:demo@demo}', None),
    ('check', 'HEAD', '/auth/tokens', '{token:admin@admin}', '{token:demo@demo}', None),
    ('revoke a stranger', 'DELETE', '/auth/tokens', '{token:demo@demo}', '{token:alt@alt_demo}', None),
    ('revoke as a service', 'DELETE', '/auth/tokens', '{token:cinder@service}', '{token:alt@alt_demo}', None),
    ('revoke', 'DELETE', '/auth/tokens', '{token:alt@alt_demo}', '{fresh:alt@alt_demo}', None),
    ('revoke as admin', 'DELETE', '/auth/tokens', '{token:admin@admin}', '{fresh:alt@alt_demo}', None),
    ('own projects', 'GET', '/auth/projects', '{token:demo@demo}', '', None),
    ('own projects, unscoped', 'GET', '/auth/projects', '{token:demo@}', '', None),
    ('projects of a user', 'GET', '/users/{users:demo}/projects', '{token:demo@demo}', '', None),
    ('projects of a stranger', 'GET', '/users/{users:alt}/projects', '{token:demo@demo}', '', None),
    ('catalog', 'GET', '/auth/catalog', '{token:demo@demo}', '', None),
    ('catalog, unscoped', 'GET', '/auth/catalog', '{token:demo@}', '', None),
    ('find project', 'GET', '/projects?name=demo', '{token:admin@admin}', '', None),
    ('find no project', 'GET', '/projects?name=nowhere', '{token:admin@admin}', '', None),
    ('find project as a member', 'GET', '/projects?name=demo', '{token:demo@demo}', '', None),
    ('project', 'GET', '/projects/{projects:demo}', '{token:admin@admin}', '', None),
    ('unknown project to an admin', 'GET', '/projects/nowhere', '{token:admin@admin}', '', None),
    ('own project', 'GET', '/projects/{projects:demo}', '{token:reader@demo}', '', None),
    ('foreign project to a member', 'GET', '/projects/{projects:admin}', '{token:demo@demo}', '', None),
    ('unknown project to a member', 'GET', '/projects/demo', '{token:demo@demo}', '', None),
    ('find user', 'GET', '/users?name=demo', '{token:admin@admin}', '', None),
    ('find user as a member', 'GET', '/users?name=demo', '{token:demo@demo}', '', None),
    ('user', 'GET', '/users/{users:demo}', '{token:admin@admin}', '', None),
    ('self', 'GET', '/users/{users:demo}', '{token:demo@demo}', '', None),
    ('another user', 'GET', '/users/{users:alt}', '{token:demo@demo}', '', None),
    ('domains', 'GET', '/domains', '{token:admin@admin}', '', None),
    ('domain', 'GET', '/domains/default', '{token:demo@demo}', '', None),
    ('unknown domain', 'GET', '/domains/nowhere', '{token:admin@admin}', '', None),
    ('role by name', 'GET', '/roles?name=member', '{token:admin@admin}', '', None),
    ('roles as a member', 'GET', '/roles', '{token:demo@demo}', '', None),
    ('service by type', 'GET', '/services?type=volumev3', '{token:admin@admin}', '', None),
    ('endpoints', 'GET', '/endpoints?interface=public', '{token:admin@admin}', '', None),
    ('endpoints as a member', 'GET', '/endpoints', '{token:demo@demo}', '', None),
    ('any collection without a token', 'GET', '/projects', '', '', None),
    ('writing where nothing is written', 'PUT', '/projects', '{token:admin@admin}', '', {}),
]


@pytest.fixture(scope='module')
def servers(keystone: Keystone) -> Iterator[tuple[Server, Server]]:
    with serving(local_document()) as standalone:
        yield Server(keystone.url), Server(standalone.identity_url)


@pytest.mark.parametrize('exchange', EXCHANGES, ids=[exchange[0] for exchange in EXCHANGES])
def test_the_standalone_identity_answers_as_keystone(
    servers: tuple[Server, Server], exchange: tuple[str, str, str, str, str, Any]
) -> None:
    real, own = (facts(server, *exchange[1:]) for server in servers)

    assert own == real


def facts(server: Server, method: str, path: str, token: str, subject: str, body: Any) -> dict[str, Any]:
    """Return the parts of an answer that must be equal: status, headers that clients read, the shape of the body."""
    sent = {'X-Auth-Token': server.fill(token), 'X-Subject-Token': server.fill(subject)}
    headers = {name: value for name, value in sent.items() if value}
    filled = json.loads(server.fill(json.dumps(body))) if isinstance(body, dict) else body
    response = server.call(method, server.fill(path), headers, filled)
    challenge = response.headers.get('WWW-Authenticate')
    return {
        'status': response.status,
        'challenge': challenge and challenge.replace(server.url, 'URL'),
        'subject token': 'X-Subject-Token' in response.headers,
        'vary': response.headers.get('Vary'),
        'body': _body(response),
    }


def _body(response: urllib3.BaseHTTPResponse) -> Any:
    if response.status == 405:
        return None  # Flask's own page, not Keystone's error
    return shape(response.json()) if response.data else None
