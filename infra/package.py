"""The deployable artefact: ``python -m infra.package`` writes ``.build/deployment.zip`` beside the templates.

It holds ``app.py``, ``chalicelib``, the two files of Chalice that run in Lambda, and the wheels of requirements.txt for
the runtime that the template names, whatever interpreter this is. Two runs give the same bytes. Where that runtime's
interpreter is installed, everything is compiled ahead: Lambda cannot write .pyc files, and would compile at each cold
start. Deploy with ``aws cloudformation package`` and ``deploy`` (docs/operations.md).
"""

from __future__ import annotations

import inspect
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from infra.render import BUILD, ROOT, templates

#: Lambda's platform; the second tag is for wheels that name a newer libc.
PLATFORMS = ('manylinux2014_x86_64', 'manylinux_2_28_x86_64')

#: Services whose descriptions botocore keeps in the artefact; all 400 of them would weigh 19 MB.
SERVICES = (
    'dynamodb',
    'ebs',
    'ec2',
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

#: Lambda's limit for an artefact, unzipped.
MAX_UNZIPPED = 250 * 1024 * 1024

#: ZIP's first moment: no build shows in the bytes.
EPOCH = (1980, 1, 1, 0, 0, 0)


def main() -> None:
    runtime = runtime_version()
    code = BUILD / 'code'
    shutil.rmtree(code, ignore_errors=True)
    install_wheels(code, runtime)
    trim_botocore(code / 'botocore' / 'data')
    copy_source(code)
    compile_ahead(code, runtime)
    check_size(code)
    write_zip(code, BUILD / 'deployment.zip')
    size = (BUILD / 'deployment.zip').stat().st_size
    print(f'{BUILD / "deployment.zip"}: {size / 1024**2:.1f} MiB for Python {runtime}')
    print(f'{BUILD / "template.json"}: deploy with aws cloudformation package, then aws cloudformation deploy')


def runtime_version() -> str:
    """'3.13' of the template's python3.13."""
    template = json.loads((templates() / 'template.json').read_text())
    return str(template['Globals']['Function']['Runtime']).removeprefix('python')


def install_wheels(code: Path, runtime: str) -> None:
    """Unpack the pinned requirements for Lambda. Chalice comes apart: at run time it is two files."""
    wanted = [line for line in _requirements() if not line.startswith('chalice=')]
    platforms = [option for platform in PLATFORMS for option in ('--platform', platform)]
    command = [sys.executable, '-m', 'pip', 'install', '-q', '--disable-pip-version-check', '--target', str(code)]
    command += [
        '--only-binary=:all:',
        '--implementation',
        'cp',
        '--python-version',
        runtime,
        '--no-compile',
        *platforms,
    ]
    subprocess.run([*command, *wanted], check=True)  # noqa: S603


def _requirements() -> Iterator[str]:
    for line in (ROOT / 'requirements.txt').read_text().splitlines():
        requirement = line.partition('#')[0].strip()
        if requirement:
            yield requirement


def trim_botocore(data: Path) -> None:
    """Remove the descriptions of services that nothing here calls."""
    for folder in data.iterdir():
        if folder.is_dir() and folder.name not in SERVICES:
            shutil.rmtree(folder)


def copy_source(code: Path) -> None:
    import chalice
    import chalice.app

    (code / 'chalice').mkdir()
    for module in (chalice, chalice.app):
        source = Path(inspect.getfile(module))
        shutil.copy(source, code / 'chalice' / source.name)
    shutil.copy(ROOT / 'app.py', code / 'app.py')
    shutil.copytree(ROOT / 'chalicelib', code / 'chalicelib', ignore=shutil.ignore_patterns('__pycache__'))


def compile_ahead(code: Path, runtime: str) -> None:
    """Compile with checked-never hashes, so that the files' times do not matter in the artefact."""
    interpreter = shutil.which(f'python{runtime}')
    if interpreter is None or not _runs(interpreter):
        print(f'python{runtime} is not here: the artefact holds no .pyc files, and cold starts take longer')
        return
    options = ['-m', 'compileall', '-q', '-j', '0', '-s', str(code), '--invalidation-mode', 'unchecked-hash']
    subprocess.run([interpreter, *options, str(code)], check=True)  # noqa: S603


def _runs(interpreter: str) -> bool:
    return subprocess.run([interpreter, '-c', ''], capture_output=True, check=False).returncode == 0  # noqa: S603


def check_size(code: Path) -> None:
    """Raise ValueError when Lambda would refuse the artefact."""
    size = sum(path.stat().st_size for path in code.rglob('*') if path.is_file())
    if size > MAX_UNZIPPED:
        raise ValueError(f'the artefact has {size} bytes unzipped, and Lambda takes {MAX_UNZIPPED}')


def write_zip(code: Path, target: Path) -> None:
    """Sorted names, one date, one mode: the same input gives the same bytes."""
    unfinished = target.with_suffix('.new')
    with zipfile.ZipFile(unfinished, 'w', zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in code.rglob('*') if path.is_file()):
            entry = zipfile.ZipInfo(str(path.relative_to(code)), EPOCH)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())
    unfinished.replace(target)


if __name__ == '__main__':
    main()
