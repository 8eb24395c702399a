"""``cinderless convert``: cinder.conf -> a backends document, parameters, default quotas, and what has no counterpart.

No value of an option that holds a secret leaves this module: the documents name secrets that the operator creates.
"""

from __future__ import annotations

import configparser
import dataclasses
import json
import re
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from chalicelib import errors
from chalicelib.scheduler.config import SchedulerConfig
from cinderless.errors import REFUSED, Failure
from cinderless.migration import options
from infra.values import RANGES

#: Placeholder of an address that cinder.conf does not have.
STORAGE_HOST = 'storage-host.example'

#: Placeholder of a fingerprint: no certificate has it, so nothing is sent before it is replaced.
FINGERPRINT = '0' * 64

#: Option values that mean true, as oslo.config reads them.
_TRUE = frozenset({'true', '1', 'yes', 'on'})

#: A search pattern that only lists names: (vol1|vol2), ^vol1$ or vol1.
_NAMES = re.compile(r'\^?\(?([\w-]+(?:\|[\w-]+)*)\)?\$?')


class Note(NamedTuple):
    """An option, or a section, that is not carried over. ``meaning``: what that means, and what to do."""

    section: str
    option: str
    value: str
    meaning: str


@dataclasses.dataclass
class Conversion:
    """The result. ``quotas``: limits of the quota class ``default``; ``hosts``: lines of the table of backends."""

    backends: dict[str, Any] = dataclasses.field(default_factory=lambda: {'host': 'cinderless', 'backends': []})
    parameters: dict[str, Any] = dataclasses.field(default_factory=dict)
    quotas: dict[str, int] = dataclasses.field(default_factory=dict)
    hosts: list[str] = dataclasses.field(default_factory=list)
    notes: list[Note] = dataclasses.field(default_factory=list)


class Conf:
    """The options of a cinder.conf: sections as oslo.config reads them, ``$name`` substituted from DEFAULT."""

    def __init__(self, text: str) -> None:
        """Raises Failure for a text that is not in the form of cinder.conf."""
        self._parser = configparser.RawConfigParser(
            strict=False, default_section='\0', comment_prefixes=('#', ';'), allow_no_value=True
        )
        self._parser.optionxform = str  # type: ignore[assignment,method-assign]
        try:
            self._parser.read_string(text)
        except configparser.Error as error:
            raise Failure(f'this is not a cinder.conf: {error.message}'.replace('\n', ' '), REFUSED) from None

    def sections(self) -> list[str]:
        return self._parser.sections()

    def items(self, section: str) -> dict[str, str]:
        """Return the options that a section sets."""
        if not self._parser.has_section(section):
            return {}
        return {name: self._substituted(value or '') for name, value in self._parser.items(section)}

    def get(self, section: str, name: str, default: Any = None) -> Any:
        return self.items(section).get(name, default)

    def of_backend(self, section: str, name: str, default: Any = None) -> Any:
        """Return an option of a backend: its own, else that of ``backend_defaults``, as in Cinder."""
        return self.get(section, name, self.get('backend_defaults', name, default))

    def _substituted(self, value: str) -> str:
        def replace(match: re.Match[str]) -> str:
            name = match[1] or match[2]
            found = self._parser.get('DEFAULT', name, fallback=None) if self._parser.has_section('DEFAULT') else None
            return match[0] if found is None else found

        return re.sub(r'\$(?:\{(\w+)\}|(\w+))', replace, value).strip()


def convert(text: str) -> Conversion:
    """Convert the text of a cinder.conf. Raises Failure for another form."""
    conf, done = Conf(text), Conversion()
    enabled = _list(conf.get('DEFAULT', 'enabled_backends'))
    for name in enabled:
        _backend(conf, name, done)
    _parameters(conf, done)
    _quotas(conf, done)
    done.notes += _notes_of_default(conf)
    done.notes += _notes_of_sections(conf, enabled)
    return done


def _backend(conf: Conf, name: str, done: Conversion) -> None:
    driver = conf.of_backend(name, 'volume_driver', options.LVM)
    make = _DRIVERS.get(driver)
    host = f'{conf.of_backend(name, "backend_host") or conf.get("DEFAULT", "host") or "HOSTNAME"}@{name}'
    if not conf.items(name):
        done.notes.append(Note(name, 'enabled_backends', name, 'the section does not exist: Cinder did not start it'))
        return
    found = make(conf, name, done) if make else None
    if found is None:
        if make is None:
            meaning = 'no driver here has this backend: its volumes are unmanaged, and copied through backups'
            done.notes.append(Note(name, 'volume_driver', driver, meaning))
        done.hosts.append(f'{host} -> unmanaged')
        return
    entry, pools = found
    done.backends['backends'].append({'name': name, **entry, **_generic(conf, name, done)})
    done.hosts += [f'{host}#{old} -> {done.backends["host"]}@{name}#{new}' for old, new in pools.items()]


#: (keys of the backend, {pool in Cinder: pool here}), or None for one without a counterpart.
_Found = tuple[dict[str, Any], dict[str, str]] | None


def _lvm(conf: Conf, name: str, done: Conversion) -> _Found:
    group = conf.of_backend(name, 'volume_group', options.LVM_OPTIONS['volume_group'])
    address = conf.of_backend(name, 'target_ip_address', '') or conf.get('DEFAULT', 'my_ip', '')
    protocol = conf.of_backend(name, 'target_protocol', 'iscsi')
    if protocol != 'iscsi':
        done.notes.append(Note(name, 'target_protocol', protocol, 'the storage agent exports over iSCSI alone'))
        return None
    meaning = (
        f'install the storage agent on this host with the store lvm:{group} (appliance/README.md), set url and '
        'fingerprint to what it prints, and store its secret in Secrets Manager; volumes must be thin'
    )
    done.notes.append(Note(name, 'volume_driver', 'LVM', meaning))
    url = f'https://{address if address and "$" not in address else STORAGE_HOST}:18700'
    entry = {
        'driver': 'appliance',
        'options': {'url': url, 'fingerprint': FINGERPRINT, 'pools': [group]},
        'secrets': {'secret': {'secret': f'cinderless/{name}', 'key': 'hmac'}},
    }
    # Cinder names the pool of an LVM backend after its volume_backend_name, else after its class.
    pool = conf.of_backend(name, 'volume_backend_name') or 'LVM'
    return entry, {pool: group}


def _netapp(conf: Conf, name: str, done: Conversion) -> _Found:
    family = conf.of_backend(name, 'netapp_storage_family', 'ontap_cluster')
    protocol = conf.of_backend(name, 'netapp_storage_protocol', '')
    for option, value, wanted in (
        ('netapp_storage_family', family, 'ontap_cluster'),
        ('netapp_storage_protocol', protocol, 'iscsi'),
    ):
        if value != wanted:
            meaning = f'the driver here supports {wanted} alone: the volumes of this backend are unmanaged'
            done.notes.append(Note(name, option, value or '(unset)', meaning))
            return None
    port = conf.of_backend(name, 'netapp_server_port')
    server = conf.of_backend(name, 'netapp_server_hostname') or STORAGE_HOST
    settings = {
        'url': f'https://{server}{f":{port}" if port else ""}',
        'fingerprint': FINGERPRINT,
        'svm': conf.of_backend(name, 'netapp_vserver') or 'SVM',
        'username': conf.of_backend(name, 'netapp_login') or 'vsadmin',
        'space_reservation': conf.of_backend(name, 'netapp_lun_space_reservation', 'enabled') == 'enabled',
    }
    if pools := _flexvols(conf, name, done):
        settings['pools'] = pools
    done.notes += _notes_of_netapp(conf, name)
    secrets = {key: {'secret': f'cinderless/{name}', 'key': key} for key in ('password', 'chap_secret')}
    return {'driver': 'ontap', 'options': settings, 'secrets': secrets}, {pool: pool for pool in pools}


def _flexvols(conf: Conf, name: str, done: Conversion) -> list[str]:
    pattern = conf.of_backend(name, 'netapp_pool_name_search_pattern', '(.+)')
    match = _NAMES.fullmatch(pattern)
    if match:
        return match[1].split('|')
    meaning = (
        'all FlexVols of the SVM are pools here: name them in options.pools to use some, and give each its line in the '
        'table of backends'
    )
    done.notes.append(Note(name, 'netapp_pool_name_search_pattern', pattern, meaning))
    return []


def _notes_of_netapp(conf: Conf, name: str) -> Iterator[Note]:
    yield Note(name, 'netapp_server_hostname', '', "set options.fingerprint to the SHA-256 of the SVM's certificate")
    yield Note(name, 'netapp_password', '(hidden)', f'store it in Secrets Manager: cinderless/{name}, key password')
    meaning = f'every host gets its own CHAP account: store 32 random characters in cinderless/{name}, key chap_secret'
    yield Note(name, 'use_chap_auth', str(conf.of_backend(name, 'use_chap_auth', False)), meaning)
    if conf.of_backend(name, 'netapp_transport_type', 'https') != 'https':
        yield Note(name, 'netapp_transport_type', 'http', 'the driver here uses HTTPS: enable it on the SVM')


_DRIVERS: Mapping[str, Callable[[Conf, str, Conversion], _Found]] = {options.LVM: _lvm, options.NETAPP: _netapp}


def _generic(conf: Conf, name: str, done: Conversion) -> dict[str, Any]:
    """Return the keys of a backend that do not depend on its driver."""
    found: dict[str, Any] = {}
    for key, (option, kind, _) in options.GENERIC.items():
        value = conf.of_backend(name, option)
        if value is not None and not (key == 'max_over_subscription_ratio' and value == 'auto'):
            found[key] = _typed(name, option, value, kind)
        elif value is not None:
            meaning = 'a ratio from the use of the pool is not computed: set a number, or take the default of 20'
            done.notes.append(Note(name, option, value, meaning))
    if capabilities := conf.of_backend(name, 'extra_capabilities'):
        found['capabilities'] = _object(name, 'extra_capabilities', capabilities)
    found.setdefault('availability_zone', conf.get('DEFAULT', 'storage_availability_zone', 'nova'))
    return found


def _parameters(conf: Conf, done: Conversion) -> None:
    for parameter, places in options.PARAMETERS.items():
        values = [value for place in places if (value := conf.get(*place))]
        values = [value for value in values if (parameter, value) not in options.USUAL]
        if values:
            done.parameters[parameter] = values[0].split(',')[0] if parameter == 'GlanceUrl' else values[0]
    done.notes += _bounded(done.parameters)
    if url := done.parameters.get('KeystoneUrl'):
        done.parameters['KeystoneUrl'] = url if url.rstrip('/').endswith('/v3') else f'{url.rstrip("/")}/v3'
        meaning = 'pass the password of this user as the parameter KeystonePassword when you deploy'
        done.notes.append(Note('keystone_authtoken', 'password', '(hidden)', meaning))
    scheduler = {
        option: _typed('DEFAULT', option, value, kind)
        for option, kind in options.SCHEDULER.items()
        if (value := conf.get('DEFAULT', option)) is not None
    }
    done.notes += _checked(scheduler)
    if scheduler:
        done.parameters['SchedulerOptions'] = json.dumps(scheduler)


def _bounded(parameters: dict[str, Any]) -> Iterator[Note]:
    """Replace numbers that are not allowed here by the closest one; yield a note for each."""
    for parameter, (low, high) in RANGES.items():
        if (value := parameters.get(parameter)) is None:
            continue
        [(_, option)] = options.PARAMETERS[parameter]
        found = min(max(_typed('DEFAULT', option, value, int), low), high)
        if found != int(value):
            yield Note('DEFAULT', option, value, f'{parameter} is {low} to {high}: {found} is used')
        parameters[parameter] = str(found)


def _checked(scheduler: dict[str, Any]) -> Iterator[Note]:
    """Remove names that the scheduler does not know from its options; yield a note for each."""
    for option in ('scheduler_default_filters', 'scheduler_default_weighers'):
        for name in list(scheduler.get(option, ())):
            try:
                SchedulerConfig.from_options({option: [name]})
            except errors.InvalidParameterValue:
                scheduler[option].remove(name)
                yield Note('DEFAULT', option, name, 'the scheduler here does not have it: it is left out')


def _quotas(conf: Conf, done: Conversion) -> None:
    for option, (resource, default) in options.QUOTAS.items():
        value = conf.get('DEFAULT', option)
        if value is not None and _typed('DEFAULT', option, value, int) != default:
            done.quotas[resource] = int(value)
    if done.quotas:
        done.parameters['DefaultQuotas'] = json.dumps(done.quotas)


def _notes_of_default(conf: Conf) -> Iterator[Note]:
    known = {option for places in options.PARAMETERS.values() for section, option in places if section == 'DEFAULT'}
    known |= {*options.QUOTAS, *options.SCHEDULER, *options.NEEDLESS}
    for option, value in conf.items('DEFAULT').items():
        if option == 'backup_driver' or option in known:
            continue
        default, meaning = options.WITHOUT.get(option, (None, 'no counterpart: it tunes a process that is not here'))
        if not _is_default(value, default):
            yield Note('DEFAULT', option, _shown(option, value), meaning)
    yield from _backups(conf)


def _backups(conf: Conf) -> Iterator[Note]:
    driver = conf.get('DEFAULT', 'backup_driver')
    if driver is None:
        return
    kind, option = options.BACKUP_PLACES.get(driver.rpartition('.')[2], ('', ''))
    meaning = 'backups are in the S3 bucket of the stack; '
    if kind:
        meaning += f'import those in the {kind} {conf.get("DEFAULT", option, "of this driver")} with '
        meaning += 'cinderless backup import-cinder'
    else:
        meaning += 'those of this driver cannot be imported: restore them in Cinder before the switch'
    yield Note('DEFAULT', 'backup_driver', driver, meaning)


def _notes_of_sections(conf: Conf, enabled: list[str]) -> Iterator[Note]:
    converted = {section for places in options.PARAMETERS.values() for section, _ in places}
    for section in conf.sections():
        if section in {'DEFAULT', 'backend_defaults', *converted}:
            continue
        if section not in enabled:
            why = next((text for start, text in options.SECTIONS.items() if section.startswith(start)), '')
            meaning = why or 'a section of a backend that is not enabled, or of no use here'
            yield Note(section, '', '', meaning)
            continue
        driver = conf.of_backend(section, 'volume_driver', options.LVM)
        for option, value in conf.items(section).items():
            if not _is_converted(driver, option):
                yield Note(section, option, _shown(option, value), 'no counterpart: the driver here has no such option')


def _is_converted(driver: str, option: str) -> bool:
    own: Mapping[str, Mapping[str, object]] = {options.LVM: options.LVM_OPTIONS, options.NETAPP: options.NETAPP_OPTIONS}
    return option in {*own.get(driver, {}), *options.NEEDLESS, *(name for name, _, _ in options.GENERIC.values())}


def _is_default(value: str, default: object) -> bool:
    if isinstance(default, bool):
        return (value.lower() in _TRUE) == default
    return value == ('' if default == [] else str(default))


def _shown(option: str, value: str) -> str:
    """Return a value without its secret."""
    if any(word in option for word in options.SECRET) or urllib.parse.urlsplit(value).password:
        return '(hidden)'
    return value


def _typed(section: str, option: str, value: str, kind: type) -> Any:
    try:
        if kind is list:
            return _list(value)
        return value.lower() in _TRUE if kind is bool else kind(value)
    except (ValueError, RecursionError):
        raise Failure(f'[{section}] {option}: {value!r} is not a number', REFUSED) from None


def _object(section: str, option: str, value: str) -> dict[str, Any]:
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Failure(f'[{section}] {option}: {value!r} is not a JSON object', REFUSED)
    return found


def _list(value: str | None) -> list[str]:
    return [one.strip() for one in (value or '').split(',') if one.strip()]
