"""The backends as data: one JSON document lists them, and a driver is created when it is needed.

    {"host": "cinderless",
     "backends": [
       {"name": "fast",
        "driver": "appliance",
        "availability_zone": "nova",
        "options": {"url": "https://192.0.2.10:18700", "fingerprint": "..."},
        "secrets": {"secret": {"secret": "cinderless/fast", "key": "hmac"}},
        "capabilities": {"tier": "gold"},
        "reserved_percentage": 10,
        "max_over_subscription_ratio": 5.0,
        "filter_function": "capabilities.free_capacity_gb > 10",
        "goodness_function": "100 - capabilities.utilization"}]}

A backend's host is ``cinderless@fast``, a pool's ``cinderless@fast#<pool>``. ``secrets`` names, by option, a secret of
Secrets Manager and, if it holds a JSON object, the key in it. ``capabilities`` are Cinder's extra_capabilities.

Loading checks the document's form. A backend's options, which only its driver defines, are checked when the driver is
created: one misconfigured backend does not disable the others. ``check`` checks all.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
import threading
from collections.abc import Callable, Mapping
from typing import Any

from chalicelib.drivers.base import Driver, Option
from chalicelib.errors import BackendMisconfigured, HostNotFound

#: Returns the text of a secret by its name.
Resolver = Callable[[str], str]

#: Module and class, imported when a backend of that kind is used.
DRIVERS: Mapping[str, tuple[str, str]] = {
    'appliance': ('chalicelib.drivers.appliance', 'ApplianceDriver'),
    'ebs': ('chalicelib.drivers.ebs', 'EbsDriver'),
    'ontap': ('chalicelib.drivers.ontap', 'OntapDriver'),
}

_NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9_.-]{0,62}')

_NUMBER = (int, float)

#: Key of a backend -> its types in JSON. The first two are required.
_KEYS: Mapping[str, tuple[type, ...]] = {
    'name': (str,),
    'driver': (str,),
    'availability_zone': (str,),
    'volume_backend_name': (str,),
    'options': (dict,),
    'secrets': (dict,),
    'capabilities': (dict,),
    'filter_function': (str,),
    'goodness_function': (str,),
    'reserved_percentage': (int,),
    'max_over_subscription_ratio': _NUMBER,
}
_REQUIRED = ('name', 'driver')

#: Settings of the document for every pool of a backend, which override the driver's report.
_POOL_KEYS = ('filter_function', 'goodness_function', 'reserved_percentage', 'max_over_subscription_ratio')


@dataclasses.dataclass(frozen=True, slots=True)
class Backend:
    """One backend of the document. ``host`` is ``<host>@<name>``; ``pool_settings`` override each pool's report."""

    host: str
    name: str
    driver: str
    availability_zone: str | None
    volume_backend_name: str
    options: Mapping[str, Any]
    secrets: Mapping[str, Mapping[str, str]]
    pool_settings: Mapping[str, Any]


class Backends:
    """The backends of one document, by host. Thread-safe: each thread has its own drivers."""

    def __init__(self, backends: list[Backend], resolve: Resolver) -> None:
        self._backends = {backend.host: backend for backend in backends}
        self._resolve = resolve
        self._threads = threading.local()

    def names(self) -> list[str]:
        """``host@backend`` of each backend, in the document's order."""
        return list(self._backends)

    def backend(self, host: str) -> Backend:
        """``host`` is ``host@backend`` or ``host@backend#pool``. Raises HostNotFound."""
        found = self._backends.get(host.partition('#')[0])
        if found is None:
            raise HostNotFound(id=host)
        return found

    def driver(self, host: str) -> Driver:
        """Return the host's driver, created once per thread. Raises HostNotFound, BackendMisconfigured."""
        backend = self.backend(host)
        made: dict[str, Driver] = self._threads.__dict__
        if backend.host not in made:
            made[backend.host] = self._make(backend)
        return made[backend.host]

    def report(self, host: str) -> dict[str, Any]:
        """Return the driver's report, overridden by the document's settings of the backend and its pools."""
        backend, stats = self.backend(host), self.driver(host).get_volume_stats()
        pools = [{**pool, **backend.pool_settings} for pool in stats['pools']]
        return {**stats, 'volume_backend_name': backend.volume_backend_name, 'pools': pools}

    def check(self) -> None:
        """Create every driver, without reaching a backend. Raises BackendMisconfigured for the first wrong one."""
        for host in self._backends:
            self.driver(host)

    def _make(self, backend: Backend) -> Driver:
        module, name = DRIVERS[backend.driver]
        driver_class: type[Driver] = getattr(importlib.import_module(module), name)
        return driver_class(backend.name, _options(backend, driver_class.OPTIONS, self._resolve))


def load(document: str | bytes | Mapping[str, Any], resolve: Resolver) -> Backends:
    """Read a backends document. ``resolve`` reads a secret when a driver is created, not before.

    Raises BackendMisconfigured with the name of the wrong key.
    """
    parsed = document if isinstance(document, Mapping) else _parse(document)
    _check_keys(parsed, {'host', 'backends'}, 'backends document')
    host, entries = parsed.get('host', 'cinderless'), parsed.get('backends')
    if not isinstance(host, str) or not _NAME.fullmatch(host):
        raise _wrong('backends document', f'host is {host!r}: set a name')
    if not isinstance(entries, list):
        raise _wrong('backends document', 'it needs a list under backends')
    backends = [_backend(host, number, entry) for number, entry in enumerate(entries)]
    hosts = [backend.host for backend in backends]
    for repeated in {host for host in hosts if hosts.count(host) > 1}:
        raise _wrong(repeated, 'it is defined twice')
    return Backends(backends, resolve)


def _parse(document: str | bytes) -> Mapping[str, Any]:
    try:
        parsed = json.loads(document)
    except ValueError as error:
        raise _wrong('backends document', f'it is not JSON: {error}') from error
    if not isinstance(parsed, dict):
        raise _wrong('backends document', 'it is not a JSON object')
    return parsed


def _backend(host: str, number: int, entry: Any) -> Backend:
    where = f'backends[{number}]'
    if not isinstance(entry, dict):
        raise _wrong(where, 'it is not a JSON object')
    _check_keys(entry, set(_KEYS), where)
    for key in _REQUIRED:
        if key not in entry:
            raise _wrong(where, f'it needs {key}')
    for key, value in entry.items():
        _check_kind(where, key, value, _KEYS[key])
    _check_values(where, entry)
    return Backend(
        host=f'{host}@{entry["name"]}',
        name=entry['name'],
        driver=entry['driver'],
        availability_zone=entry.get('availability_zone'),
        volume_backend_name=entry.get('volume_backend_name') or entry['name'],
        options=entry.get('options', {}),
        secrets=_secrets(where, entry.get('secrets', {})),
        pool_settings={**entry.get('capabilities', {}), **{key: entry[key] for key in _POOL_KEYS if key in entry}},
    )


def _check_values(where: str, entry: Mapping[str, Any]) -> None:
    if not _NAME.fullmatch(entry['name']):
        raise _wrong(where, f'name is {entry["name"]!r}: use up to 63 letters, digits, and _ . -')
    if entry['driver'] not in DRIVERS:
        raise _wrong(where, f'driver is {entry["driver"]!r}: use one of {", ".join(DRIVERS)}')
    if not 0 <= entry.get('reserved_percentage', 0) <= 100:
        raise _wrong(where, f'reserved_percentage is {entry["reserved_percentage"]}: set 0 to 100')
    if entry.get('max_over_subscription_ratio', 1) < 1:
        raise _wrong(where, f'max_over_subscription_ratio is {entry["max_over_subscription_ratio"]}: set 1 or more')


def _secrets(where: str, secrets: Mapping[str, Any]) -> Mapping[str, Mapping[str, str]]:
    for option, place in secrets.items():
        if not isinstance(place, dict) or not isinstance(place.get('secret'), str):
            raise _wrong(where, f'secrets.{option} needs the name of a secret under "secret"')
        _check_keys(place, {'secret', 'key'}, f'{where}, secrets.{option}')
    return secrets


def _options(backend: Backend, options: Mapping[str, Option], resolve: Resolver) -> dict[str, Any]:
    """Return the driver's options: set ones checked, secret ones resolved, others at their default."""
    _check_keys({**backend.options, **backend.secrets}, set(options), f'{backend.host}, options')
    for name, option in options.items():
        _check_option(backend, name, option)
    values = {name: option.default for name, option in options.items()} | dict(backend.options)
    return values | {name: _resolve(backend, name, place, resolve) for name, place in backend.secrets.items()}


def _check_option(backend: Backend, name: str, option: Option) -> None:
    given, hidden = name in backend.options, name in backend.secrets
    if given and (hidden or option.secret):
        raise _wrong(backend.host, f'options.{name} is a secret: name it under secrets only')
    if option.required and not (given or hidden):
        raise _wrong(backend.host, f'{"secrets" if option.secret else "options"}.{name} is missing')
    if given:
        kinds = _NUMBER if option.kind is float else (option.kind,)
        _check_kind(backend.host, f'options.{name}', backend.options[name], kinds)


def _resolve(backend: Backend, option: str, place: Mapping[str, str], resolve: Resolver) -> str:
    """Return the secret's text, or the text under its key. Messages contain nothing of it."""
    text, key = resolve(place['secret']), place.get('key')
    if key is None:
        return text
    try:
        return str(json.loads(text)[key])
    except (ValueError, KeyError, TypeError):
        where = f'secrets.{option}: secret {place["secret"]!r}'
        raise _wrong(backend.host, f'{where} is not a JSON object with a key {key!r}') from None


def _check_kind(where: str, key: str, value: Any, kinds: tuple[type, ...]) -> None:
    """Check a value's type. In JSON true is not a number."""
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise _wrong(where, f'{key} is {value!r:.60}: set {" or ".join(kind.__name__ for kind in kinds)}')


def _check_keys(entry: Mapping[str, Any], keys: set[str], where: str) -> None:
    unknown = sorted(set(entry) - keys)
    if unknown:
        raise _wrong(where, f'unknown key {unknown[0]!r}: allowed are {", ".join(sorted(keys))}')


def _wrong(where: str, reason: str) -> BackendMisconfigured:
    return BackendMisconfigured(backend=where, reason=reason)
