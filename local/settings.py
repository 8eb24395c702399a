"""The settings of a local cloud: its environment, with the defaults that the README names."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import re
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: Everything listens here, unless LISTEN opens the API and the portal elsewhere.
HOST = '127.0.0.1'

REGION = 'us-east-1'

#: The account that moto plays.
ACCOUNT = '123456789012'

STACK = 'cinderless'

#: The bucket keeps its name over restarts; the stack would generate a random one.
BUCKET = f'{STACK}-backups'

#: Any pair is accepted; ``ready.json`` shows these.
ACCESS_KEY, SECRET_KEY = 'local', 'local'


class Refused(ValueError):
    """The start is refused: one line that names the variable, its value and what to do."""


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """One instance. Two with other ports and another ``state_dir`` run side by side."""

    #: The API, and the standalone identity beside it.
    port: int
    #: The endpoint for the AWS CLI.
    aws_port: int
    #: tgtd's portal.
    iscsi_port: int
    #: The appliance's agent.
    appliance_port: int
    #: The address on which the API, the identity beside it and the portal listen.
    listen: str
    #: The name or address that clients and hosts get for it, '' for ``listen``.
    advertise: str
    #: '1' serves the API over TLS with a generated certificate. A given certificate and key (PEM) imply it.
    tls: str
    tls_certificate: str
    tls_key: str
    #: '1' opens the API to other machines although its passwords are well known.
    insecure: str
    #: Has the stored state, ready.json, clouds.yaml and logs; belongs to one instance.
    state_dir: Path
    #: 'memory' stores nothing beyond the run; empty for all in the state folder.
    state: str
    #: '1' removes the content of the state folder before the start.
    fresh: str
    #: '1' shows tracebacks of a start that fails.
    debug: str
    #: 'moto' keeps DynamoDB inside moto; anything else prefers AWS's own engine where Java is there.
    dynamodb: str
    #: An external Keystone, ends in /v3; empty for the standalone identity.
    keystone_url: str
    keystone_username: str
    keystone_password: str
    keystone_project: str
    glance_url: str
    barbican_url: str
    nova_url: str
    #: A backends document (JSON), or empty for the default one.
    backends: str
    #: A policy file (YAML or JSON), or empty for Cinder's default policies.
    policy_overrides: str
    #: Settings of the functions (``OF_FUNCTIONS``).
    default_volume_type: str
    default_quotas: str
    osapi_max_limit: str
    scheduler_max_attempts: str
    report_max_age: str
    max_image_gigabytes: str
    scheduler_options: str
    #: Webhooks (JSON, local/webhooks.py), or empty for none.
    webhooks: str
    #: Requests a minute that a project may send; 0 for no limit.
    project_rate_limit: str
    #: Requests that a project may send at once, if its rate is limited.
    project_burst_limit: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read the environment. Raises Refused that names the variable and its value."""
        values: dict[str, Any] = {name.lower(): port for name, port in _ports(environment).items()}
        values |= {name.lower(): environment.get(name, default) for name, default in TEXTS.items()}
        for name, allowed in CHOICES.items():
            if values[name.lower()] not in allowed:
                raise Refused(f'{name}={values[name.lower()]!r}: give one of {", ".join(filter(None, allowed))}')
        for name, ending in URLS.items():
            _check_url(name, values[name.lower()], ending)
        for name in NUMBERS:
            if not (values[name.lower()].isascii() and values[name.lower()].isdigit()):
                raise Refused(f'{name}={values[name.lower()]!r}: give a whole number')
        for name in DOCUMENTS:
            values[name.lower()] = _document(name, values[name.lower()])
        _check_functions(values)
        values['policy_overrides'] = _policies(values['policy_overrides'])
        _check_addresses(values)
        return cls(**values, state_dir=Path(environment.get('STATE_DIR') or '.local').absolute())

    @property
    def ports(self) -> dict[str, int]:
        """{variable: port}."""
        return {name: getattr(self, name.lower()) for name in PORTS}

    @property
    def has_tls(self) -> bool:
        return self.tls == '1' or bool(self.tls_certificate)

    @property
    def is_open(self) -> bool:
        """Whether other machines reach the API and the portal."""
        return not ipaddress.ip_address(self.listen).is_loopback

    @property
    def host(self) -> str:
        """The name or address by which clients and hosts reach the API and the portal."""
        return self.advertise or self.listen

    @property
    def url(self) -> str:
        """Where a client finds the API's root."""
        return f'{"https" if self.has_tls else "http"}://{join(self.host, self.port)}'

    @property
    def aws_url(self) -> str:
        return f'http://{HOST}:{self.aws_port}'

    @property
    def appliance_url(self) -> str:
        """The storage agent, which serves HTTPS only."""
        return f'https://{HOST}:{self.appliance_port}'

    @property
    def identity_url(self) -> str:
        """The Keystone for clients: the external one, or the standalone one. Ends in /v3."""
        return self.keystone_url or f'{self.url}/identity/v3'

    def parameters(self, backends: Mapping[str, Any], identity: Mapping[str, Any]) -> dict[str, str]:
        """Parameters of the stack, as a deployer would give them."""
        return {
            'Backends': self.backends or json.dumps(backends),
            'IdentityDocument': json.dumps(identity),
            'KeystoneUrl': self.keystone_url,
            'KeystoneUsername': self.keystone_username,
            'KeystonePassword': self.keystone_password,
            'KeystoneProject': self.keystone_project,
            'GlanceUrl': self.glance_url,
            'BarbicanUrl': self.barbican_url,
            'NovaUrl': self.nova_url,
            'PackSize': str(PACK_SIZE),
            'BucketName': BUCKET,
            'PolicyOverrides': self.policy_overrides,
            **{parameter: getattr(self, name.lower()) for name, parameter in OF_FUNCTIONS.items()},
            'ProjectRateLimit': self.project_rate_limit,
            'ProjectBurstLimit': self.project_burst_limit,
        }


#: moto keeps objects in memory and copies them about: 8 MiB instead of the 32 MiB of a deployment.
PACK_SIZE = 8 * 1024 * 1024

PORTS = {'PORT': 8776, 'AWS_PORT': 4566, 'ISCSI_PORT': 3260, 'APPLIANCE_PORT': 18700}

TEXTS = {
    'LISTEN': HOST,
    'ADVERTISE': '',
    'TLS': '',
    'TLS_CERTIFICATE': '',
    'TLS_KEY': '',
    'INSECURE': '',
    'DYNAMODB': '',
    'STATE': '',
    'FRESH': '',
    'DEBUG': '',
    'KEYSTONE_URL': '',
    'KEYSTONE_USERNAME': 'cinder',
    'KEYSTONE_PASSWORD': '',
    'KEYSTONE_PROJECT': 'service',
    'GLANCE_URL': '',
    'BARBICAN_URL': '',
    'NOVA_URL': '',
    'BACKENDS': '',
    'WEBHOOKS': '',
    'POLICY_OVERRIDES': '',
    'DEFAULT_VOLUME_TYPE': '__DEFAULT__',
    'DEFAULT_QUOTAS': '',
    'OSAPI_MAX_LIMIT': '1000',
    'SCHEDULER_MAX_ATTEMPTS': '3',
    'REPORT_MAX_AGE': '600',
    'MAX_IMAGE_GIGABYTES': '0',
    'SCHEDULER_OPTIONS': '',
    'PROJECT_RATE_LIMIT': '0',
    'PROJECT_BURST_LIMIT': '100',
}


#: Variable -> the parameter of the template that has its meaning.
OF_FUNCTIONS = {
    'DEFAULT_VOLUME_TYPE': 'DefaultVolumeType',
    'DEFAULT_QUOTAS': 'DefaultQuotas',
    'OSAPI_MAX_LIMIT': 'OsapiMaxLimit',
    'SCHEDULER_MAX_ATTEMPTS': 'SchedulerMaxAttempts',
    'REPORT_MAX_AGE': 'ReportMaxAge',
    'MAX_IMAGE_GIGABYTES': 'MaxImageGigabytes',
    'SCHEDULER_OPTIONS': 'SchedulerOptions',
}

#: Variables with few values.
CHOICES = {
    'DYNAMODB': ('', 'moto'),
    'STATE': ('', 'memory'),
    **dict.fromkeys(('FRESH', 'DEBUG', 'TLS', 'INSECURE'), ('', '0', '1')),
}

#: A host name of ADVERTISE.
_NAME = re.compile(r'[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?')


def join(host: str, port: int) -> str:
    """Return host:port, an IPv6 address in brackets."""
    return f'[{host}]:{port}' if ':' in host else f'{host}:{port}'


def _check_addresses(values: dict[str, Any]) -> None:
    """Raises Refused for addresses and certificates that do not go together."""
    values['listen'] = values['listen'] or HOST
    listen, advertise = _address(values['listen']), values['advertise']
    if listen is None:
        raise Refused(f'LISTEN={values["listen"]}: give an IP address of this machine, or 0.0.0.0 for all of them')
    if listen.is_unspecified and not advertise:
        raise Refused(f'LISTEN={listen} is every address: set ADVERTISE to the one that clients and hosts use')
    named = _address(advertise)
    if advertise and (named.is_unspecified if named else not _NAME.fullmatch(advertise)):
        raise Refused(f'ADVERTISE={advertise}: give a host name or an IP address, without a port')
    if values['tls_key'] and not values['tls_certificate']:
        raise Refused(f'TLS_KEY={values["tls_key"]} has no certificate: set TLS_CERTIFICATE, or unset TLS_KEY')


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


#: Variable of the local cloud -> description, for the reference and for the options of ``cinderless serve``.
MEANINGS: Mapping[str, str] = {
    'PORT': 'port of the API and of the built-in identity',
    'AWS_PORT': 'port of the endpoint for the AWS CLI',
    'ISCSI_PORT': "port of tgtd's portal",
    'APPLIANCE_PORT': 'port of the storage agent',
    'LISTEN': 'address on which API, identity and portal listen: [other machines](local-cloud.md#other-machines)',
    'ADVERTISE': 'host name or address that clients and hosts get for it; empty for LISTEN',
    'TLS': '`1` serves API and identity over HTTPS, with a generated certificate unless one is given',
    'TLS_CERTIFICATE': 'your certificate with its chain (PEM file); implies TLS',
    'TLS_KEY': 'its key (PEM file); empty if it is in the same file',
    'INSECURE': '`1` opens the API to other machines with the well-known passwords',
    'STATE_DIR': 'the [state folder](local-cloud.md#the-state-folder); one instance each',
    'DYNAMODB': '`moto` keeps tables in moto and implies STATE=memory; empty uses DynamoDB Local if Java is installed',
    'STATE': '`memory` stores nothing beyond the run',
    'FRESH': '`1` deletes the stored state before the start',
    'DEBUG': '`1` shows the traceback of a start that fails',
    'KEYSTONE_URL': 'an external Keystone, ends in /v3; empty for the built-in identity',
    'KEYSTONE_USERNAME': 'service user that validates tokens',
    'KEYSTONE_PASSWORD': 'its password',
    'KEYSTONE_PROJECT': 'its project',
    'GLANCE_URL': "Glance's root, for images",
    'BARBICAN_URL': "Barbican's root; empty for the built-in key manager",
    'NOVA_URL': 'Nova, ends in /v2.1',
    'BACKENDS': 'a backends document (JSON, `@file` or a path); empty for the three pools fast, slow and remote',
    'WEBHOOKS': '[webhooks](../how-to/webhooks.md#the-local-cloud) (JSON, `@file` or a path); empty for none',
    'POLICY_OVERRIDES': (
        'a [policy file](../how-to/coming-from-cinder.md#policies) (policy.yaml, JSON, `@file` or a path); empty for '
        "Cinder's defaults"
    ),
    'DEFAULT_VOLUME_TYPE': 'volume type of volumes that are created without one',
    'DEFAULT_QUOTAS': "limits of projects without their own (JSON, `@file` or a path); empty for Cinder's",
    'OSAPI_MAX_LIMIT': 'most records of one page of a list, 1 to 1000',
    'SCHEDULER_MAX_ATTEMPTS': 'attempts to place and provision one volume, 1 to 20',
    'REPORT_MAX_AGE': 'seconds without a report after which a backend is down, 120 to 86400',
    'MAX_IMAGE_GIGABYTES': 'GiB of the largest image, to volumes and from them; 0 for no limit',
    'SCHEDULER_OPTIONS': '[scheduler options](#scheduler-options) (JSON, `@file` or a path); empty for the defaults',
    'PROJECT_RATE_LIMIT': 'requests a minute that a project may send; 0 for no limit',
    'PROJECT_BURST_LIMIT': 'requests that a project may send at once, if its rate is limited',
}


#: Variables with the URL of a service -> how it ends.
URLS = {'KEYSTONE_URL': '/v3', 'GLANCE_URL': '', 'BARBICAN_URL': '', 'NOVA_URL': '/v2.1'}


def _check_url(name: str, text: str, ending: str) -> None:
    """Raises Refused for a URL that no client could use. '' is none."""
    example = f'http://host:port{ending}'
    try:
        parts = urllib.parse.urlsplit(text)
        is_url = parts.scheme in ('http', 'https') and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:  # brackets without an address, a port that is not a number
        is_url = False
    if text and not (is_url and text.isprintable() and ' ' not in text):
        raise Refused(f'{name}={text!r} is not a URL: give one such as {example}, or unset {name}')
    if text and not text.rstrip('/').endswith(ending):
        raise Refused(f'{name}={text!r} does not end in {ending}: give one such as {example}')


#: Variables with a JSON document, or the path of one.
DOCUMENTS = ('BACKENDS', 'WEBHOOKS', 'DEFAULT_QUOTAS', 'SCHEDULER_OPTIONS')

#: Variables whose text is a whole number.
NUMBERS = ('PROJECT_RATE_LIMIT', 'PROJECT_BURST_LIMIT')


def _check_functions(values: dict[str, Any]) -> None:
    """Use the default of a setting of the functions that is empty. Raises Refused for a wrong one."""
    for name in OF_FUNCTIONS:
        values[name.lower()] = values[name.lower()] or TEXTS[name]
    changed = {name: values[name.lower()] for name in OF_FUNCTIONS if values[name.lower()] != TEXTS[name]}
    if not changed:
        return
    from infra.values import setting_problems  # most instances have the defaults

    names = {parameter: name for name, parameter in OF_FUNCTIONS.items()}
    for parameter, problem in setting_problems({OF_FUNCTIONS[name]: text for name, text in changed.items()}):
        raise Refused(f'{names[parameter]} {problem}')


def _ports(environment: Mapping[str, str]) -> dict[str, int]:
    """{variable: port}, each port once. Raises Refused."""
    ports = {name: _port(environment, name) for name in PORTS}
    for name, port in ports.items():
        other = next(each for each in ports if ports[each] == port)
        if other != name:
            raise Refused(f'{name}={port} is also the port of {other}: give each another port')
    return ports


def _port(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name) or str(PORTS[name])
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 0 < int(text) < 65536):
        raise Refused(f'{name}={text!r}: give a port between 1 and 65535')
    return int(text)


def _document(name: str, text: str) -> str:
    """A JSON document: as it is, or read from ``@file`` or a path. Raises Refused for text that is not JSON."""
    return _json(*_read(name, text))


def _policies(text: str) -> str:
    """Return the parameter for a policy file, which is given as other documents are. Raises Refused."""
    if not text:
        return ''
    from infra import policy_file  # most instances have none

    where, document = _read('POLICY_OVERRIDES', text)
    try:
        return policy_file.document(document)
    except policy_file.Refused as refused:
        raise Refused(f'{where}: {refused}') from None


def _read(name: str, text: str) -> tuple[str, str]:
    """Return a document, and where it is from: the variable, with its value if that is ``@file`` or a path."""
    if not text or text.lstrip().startswith(('{', '[', '"')):
        return name, text
    try:
        return f'{name}={text}', Path(text.removeprefix('@')).read_text()
    except (OSError, ValueError) as error:  # a ValueError of bytes that are not text, or of a path with a NUL
        reason = getattr(error, 'strerror', None) or error
        raise Refused(f'{name}={text}: the file cannot be read ({reason})') from None


def _json(name: str, text: str) -> str:
    try:
        json.loads(text or 'null')
    except (ValueError, RecursionError) as error:
        raise Refused(f'{name} is not JSON ({error}); give a document, @file or a path') from None
    return text
