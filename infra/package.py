"""The deployable artefacts: ``python -m infra.package`` writes three archives beside ``.build/template.json``.

* ``functions.zip``: ``app.py`` and ``chalicelib``, compiled, the same for every function.
* ``common.zip``: the layer of all functions: SDK, PynamoDB, the two files of Chalice that run in Lambda.
* ``data.zip``: the layer of the workers: compiled packages that are slow to load.

Layers contain exactly the wheels of ``infra/layers/*.txt``, for the runtime in the template, whatever interpreter runs
this. Two runs give the same bytes. If that runtime's interpreter is installed, everything is compiled ahead of time:
Lambda cannot write .pyc files, and would compile at each cold start.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from infra import console, interpreter, smoke
from infra.layers import LAYERS, fetch, unpack
from infra.progress import Counter, Progress, silent
from infra.render import BUILD, ROOT, locked, templates

#: Services whose descriptions botocore keeps in the artefact; those of all 400 have 19 MB.
SERVICES = (
    'dynamodb',
    'ebs',
    'ec2',
    'events',
    'kms',
    'lambda',
    's3',
    'secretsmanager',
    'sqs',
    'ssm',
    'stepfunctions',
    'sts',
    'xray',
)

#: Services whose endpoints and descriptions have different names.
ENDPOINTS = {'stepfunctions': 'states'}

#: The parts of Chalice that run in Lambda; the rest is its command line.
CHALICE = ('__init__.py', 'app.py')

#: The limit for the project's own code with the console's files, in bytes: a deployment that changes only code uploads
#: no more.
MAX_FUNCTIONS = 1280 * 1024

#: Lambda's limit for a function with its layers, unzipped.
MAX_UNZIPPED = 250 * 1024 * 1024

#: ZIP's earliest time, so that the build time does not change the bytes.
EPOCH = (1980, 1, 1, 0, 0, 0)


#: Steps of a run: the template; for each layer download and unpacking; for each archive compilation and compression;
#: each function's load.
STEPS = 1 + 2 * len(LAYERS) + 2 * (len(LAYERS) + 1) + len(smoke.REACHES)

Done = Callable[[], None]


def main(progress: Progress = silent) -> int:
    """Package; one process at a time, since all use one folder. Returns the exit code."""
    BUILD.mkdir(exist_ok=True)
    with locked(BUILD / 'package.lock'):
        return _package(progress)


def _package(progress: Progress) -> int:
    try:
        console.fetch()
    except console.Missing as missing:
        print(missing, file=sys.stderr)
        return 1
    runtime = interpreter.runtime()
    python = interpreter.find(runtime)
    if python is None:
        print(f'python{runtime} is not here ({interpreter.ADVICE}): no .pyc files, cold starts take longer')
    with progress('package', STEPS, unit='steps') as show:
        done = Counter(show)
        templates()
        done()
        archives = build(BUILD, runtime, python, done)
        smoke.run(python or sys.executable, BUILD, done)
    for archive in archives:
        print(f'{archive}: {archive.stat().st_size / 1024:,.0f} KiB')
    print(f'unzipped, a worker with its layers: {unzipped(BUILD) / 1024**2:.1f} of {MAX_UNZIPPED // 1024**2} MiB')
    print(f'every handler loads from the artefacts ({python or "not the runtime deployed: " + sys.executable})')
    print(f'{BUILD / "template.json"}: make deploy uploads and deploys it')
    return 0


def build(folder: Path, runtime: str, python: str | None, done: Done = lambda: None) -> list[Path]:
    """Write the archives to ``folder`` and return them; call ``done`` after each step.

    Raises ValueError for an archive that Lambda would refuse.
    """
    trees = {name: folder / name for name in ('functions', *LAYERS)}
    for tree in trees.values():
        shutil.rmtree(tree, ignore_errors=True)
    copy_source(trees['functions'])
    for layer in LAYERS:
        wheels = fetch(layer, runtime)
        done()
        unpack(wheels, trees[layer] / 'python')
        done()
    trim_botocore(trees['common'] / 'python' / 'botocore' / 'data')
    trim_chalice(trees['common'] / 'python' / 'chalice')
    archives = [folder / f'{name}.zip' for name in trees]
    for tree, archive in zip(trees.values(), archives, strict=True):
        if python is not None:
            compile_ahead(tree, python)
        done()
        write_zip(tree, archive)
        done()
    check_sizes(archives[0].stat().st_size, unzipped(folder))
    return archives


def copy_source(tree: Path) -> None:
    tree.mkdir(parents=True)
    shutil.copy(ROOT / 'app.py', tree / 'app.py')
    shutil.copytree(ROOT / 'chalicelib', tree / 'chalicelib', ignore=shutil.ignore_patterns('__pycache__'))


def trim_botocore(data: Path) -> None:
    """Remove the descriptions and endpoints of unused services: a megabyte that each cold start
    would parse.
    """
    for folder in data.iterdir():
        if folder.is_dir() and folder.name not in SERVICES:
            shutil.rmtree(folder)
    known = data / 'endpoints.json'
    document = json.loads(known.read_text(encoding='utf-8'))
    kept = {ENDPOINTS.get(service, service) for service in SERVICES}
    for partition in document['partitions']:
        partition['services'] = {name: facts for name, facts in partition['services'].items() if name in kept}
    known.write_text(json.dumps(document), encoding='utf-8')


def trim_chalice(package: Path) -> None:
    for path in package.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in CHALICE:
            path.unlink()


def compile_ahead(tree: Path, python: str) -> None:
    """Run ``bytecode.py`` there; without traceback columns, which would take more space than the lines."""
    alone = ['--alone'] if tree.name == 'functions' else []
    command = [python, '-X', 'no_debug_ranges', str(ROOT / 'infra' / 'bytecode.py'), str(tree), *alone]
    subprocess.run(command, check=True, env={**os.environ, 'PYTHONHASHSEED': '0'})  # noqa: S603


def unzipped(folder: Path) -> int:
    """Return the bytes of the largest function, a worker, with both layers."""
    return sum(path.stat().st_size for name in ('functions', *LAYERS) for path in files(folder / name))


def check_sizes(functions: int, whole: int) -> None:
    """Raise ValueError when the functions' archive exceeds its limit, or Lambda would refuse a worker (bytes)."""
    if functions > MAX_FUNCTIONS:
        raise ValueError(f'functions.zip has {functions} bytes, more than {MAX_FUNCTIONS}: does it hold a package?')
    if whole > MAX_UNZIPPED:
        raise ValueError(f'a worker with its layers has {whole} bytes unzipped, and Lambda takes {MAX_UNZIPPED}')


def files(tree: Path) -> Iterator[Path]:
    return (path for path in sorted(tree.rglob('*')) if path.is_file())


def write_zip(tree: Path, target: Path) -> None:
    """Write sorted names, one date, one mode: the same input gives the same bytes."""
    unfinished = target.with_suffix('.new')
    with zipfile.ZipFile(unfinished, 'w', zipfile.ZIP_DEFLATED) as archive:
        for path in files(tree):
            entry = zipfile.ZipInfo(str(path.relative_to(tree)), EPOCH)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())
    unfinished.replace(target)


if __name__ == '__main__':
    sys.exit(main())
