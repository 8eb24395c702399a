"""The artefact."""

from __future__ import annotations

import itertools
import json
import re
import sys
import zipfile
from pathlib import Path

import botocore
import pytest
from botocore.regions import EndpointResolver

from infra import interpreter, layers, lock, package, smoke
from infra.render import ROOT


def files(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def test_two_archives_of_the_same_code_are_the_same_bytes(tmp_path: Path) -> None:
    first = files(tmp_path / 'first', 'b/c.py', 'a.py')
    second = files(tmp_path / 'second', 'a.py', 'b/c.py')
    (first / 'a.py').chmod(0o600)
    package.write_zip(first, tmp_path / 'first.zip')
    package.write_zip(second, tmp_path / 'second.zip')
    assert (tmp_path / 'first.zip').read_bytes() == (tmp_path / 'second.zip').read_bytes()
    with zipfile.ZipFile(tmp_path / 'first.zip') as archive:
        assert archive.namelist() == ['a.py', 'b/c.py']
        assert archive.read('b/c.py') == b'b/c.py'


@pytest.fixture
def endpoints() -> str:
    return (Path(botocore.__file__).parent / 'data' / 'endpoints.json').read_text(encoding='utf-8')


def test_botocore_keeps_what_is_called(tmp_path: Path, endpoints: str) -> None:
    data = files(tmp_path, 'dynamodb/x.json', 'polly/x.json', 'endpoints.json')
    (data / 'endpoints.json').write_text(endpoints, encoding='utf-8')
    package.trim_botocore(data)
    assert sorted(path.name for path in data.iterdir()) == ['dynamodb', 'endpoints.json']


def test_what_is_called_keeps_its_endpoints(tmp_path: Path, endpoints: str) -> None:
    (tmp_path / 'endpoints.json').write_text(endpoints, encoding='utf-8')
    package.trim_botocore(tmp_path)
    trimmed = (tmp_path / 'endpoints.json').read_text(encoding='utf-8')
    assert len(trimmed) < len(endpoints) / 10
    every, kept = (EndpointResolver(json.loads(text)) for text in (endpoints, trimmed))
    for service, partition in itertools.product(package.SERVICES, every.get_available_partitions()):
        name = package.ENDPOINTS.get(service, service)
        regions = every.get_available_endpoints(name, partition)
        assert regions == kept.get_available_endpoints(name, partition)
        for region in regions:
            assert every.construct_endpoint(name, region) == kept.construct_endpoint(name, region)
    assert every.get_available_endpoints('states')


def test_every_client_that_the_source_makes_is_kept() -> None:
    made = set()
    for path in (ROOT / 'chalicelib').rglob('*.py'):
        made.update(re.findall(r"client\('([a-z0-9]+)'", path.read_text()))
    assert made
    assert made <= set(package.SERVICES)


def test_what_lambda_would_refuse_is_refused() -> None:
    package.check_sizes(package.MAX_FUNCTIONS, package.MAX_UNZIPPED)
    with pytest.raises(ValueError, match=str(package.MAX_UNZIPPED)):
        package.check_sizes(0, package.MAX_UNZIPPED + 1)
    with pytest.raises(ValueError, match=r'functions\.zip'):
        package.check_sizes(package.MAX_FUNCTIONS + 1, 0)


def test_our_source_is_taken_as_it_is(tmp_path: Path) -> None:
    package.copy_source(tmp_path / 'functions')
    assert (tmp_path / 'functions' / 'app.py').read_bytes() == (ROOT / 'app.py').read_bytes()
    assert (tmp_path / 'functions' / 'chalicelib' / 'errors' / '__init__.py').exists()
    assert not list(tmp_path.rglob('__pycache__'))


def test_of_chalice_two_files_run(tmp_path: Path) -> None:
    package.trim_chalice(files(tmp_path, '__init__.py', 'app.py', 'config.py', 'cli/__init__.py'))
    assert sorted(path.name for path in tmp_path.iterdir()) == ['__init__.py', 'app.py']


@pytest.fixture(scope='module')
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real artefacts, compiled where the runtime's interpreter is."""
    folder = tmp_path_factory.mktemp('artefacts')
    package.build(folder, interpreter.runtime(), interpreter.find(interpreter.runtime()))
    return folder


@pytest.mark.xdist_group('artefacts')
def test_every_handler_loads_from_the_artefacts(built: Path, tmp_path: Path) -> None:
    """From the archives, unpacked as Lambda does: the layers in one folder, the functions in another."""
    for name in ('functions', *layers.LAYERS):
        with zipfile.ZipFile(built / f'{name}.zip') as archive:
            archive.extractall(tmp_path / name)
    smoke.run(interpreter.find(interpreter.runtime()) or sys.executable, tmp_path)


@pytest.mark.xdist_group('artefacts')
def test_the_artefacts_are_the_same_bytes_each_time(built: Path, tmp_path: Path) -> None:
    package.build(tmp_path, interpreter.runtime(), interpreter.find(interpreter.runtime()))
    for archive in built.glob('*.zip'):
        assert (tmp_path / archive.name).read_bytes() == archive.read_bytes(), archive.name


@pytest.mark.xdist_group('artefacts')
def test_layers_hold_what_is_locked_and_functions_hold_no_package(built: Path) -> None:
    assert {path.name for path in (built / 'functions').iterdir()} <= {'app.py', 'app.pyc', 'chalicelib'}
    for layer in layers.LAYERS:
        found = {path.name.partition('-')[0] for path in (built / layer / 'python').glob('*.dist-info')}
        wanted = {line.partition('==')[0].replace('-', '_') for line in lines(layer)}
        assert found == wanted


@pytest.mark.xdist_group('artefacts')
def test_a_handler_that_does_not_load_is_named(built: Path, tmp_path: Path) -> None:
    for name in layers.LAYERS:
        (tmp_path / name).symlink_to(built / name)
    files(tmp_path, 'functions/app.py')
    with pytest.raises(RuntimeError, match='api_handler does not load'):
        smoke.run(interpreter.find(interpreter.runtime()) or sys.executable, tmp_path)


def lines(layer: str) -> list[str]:
    return [line for line in layers.locked(layer).read_text().splitlines() if not line.startswith('#')]


def test_the_layers_are_locked_as_required() -> None:
    """Every requirement in one layer, at its version and with a hash; a package in both would hide one of them."""
    pinned = {layer: {line.partition(' ')[0] for line in lines(layer)} for layer in layers.LAYERS}
    required = {line.lower() for line in lock.requirements()}
    assert required <= pinned['common'] | pinned['data'], 'requirements.txt changed: run make lock'
    assert {line.partition('==')[0] for line in required & pinned['data']} == set(lock.DATA)
    assert not pinned['common'] & pinned['data']
    assert all('--hash=sha256:' in line for layer in layers.LAYERS for line in lines(layer))


def test_a_wheel_that_installs_more_than_packages_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / 'odd-1-py3-none-any.whl'
    with zipfile.ZipFile(wheel, 'w') as archive:
        archive.writestr('odd-1.data/data/etc/odd.conf', '')
    with pytest.raises(ValueError, match=r'odd\.conf'):
        layers.unpack([wheel], tmp_path / 'layer')


def test_a_wheel_is_laid_out_with_its_licence_and_without_its_scripts(tmp_path: Path) -> None:
    wheel = tmp_path / 'kind-1-py3-none-any.whl'
    names = ['kind/__init__.py', 'kind-1.dist-info/METADATA', 'kind-1.dist-info/RECORD', 'kind-1.data/scripts/kind']
    with zipfile.ZipFile(wheel, 'w') as archive:
        for name in names:
            archive.writestr(name, '')
    layers.unpack([wheel], tmp_path / 'layer')
    found = {str(path.relative_to(tmp_path / 'layer')) for path in (tmp_path / 'layer').rglob('*') if path.is_file()}
    assert found == set(names[:2])
