"""The program as a whole: its help, how it refuses, and who may not import it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from cinderless import program
from cinderless.errors import EXIT_CODES

ROOT = Path(__file__).resolve().parents[3]


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The program as a user starts it."""
    command = [sys.executable, '-m', 'cinderless', *words]
    known = {'PATH': '/usr/bin:/bin', **environment}
    return subprocess.run(command, cwd=ROOT, env=known, capture_output=True, text=True, timeout=60, check=False)


def commands() -> Iterator[tuple[list[str], click.Command]]:
    """Each command with its words, those of groups included."""
    context = click.Context(program.program)
    for name in program.COMMANDS:
        command = program.program.get_command(context, name)
        assert command is not None, name
        yield [name], command
        for sub, each in getattr(command, 'commands', {}).items():
            yield [name, sub], each


ALL = list(commands())


@pytest.mark.parametrize(('words', 'command'), ALL, ids=[' '.join(words) for words, _ in ALL])
def test_every_command_describes_itself_and_its_options(
    words: list[str], command: click.Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main([*words, '--help']) == 0
    shown = capsys.readouterr().out
    assert f'Usage: cinderless {" ".join(words)}' in shown
    assert command.help
    assert command.get_short_help_str(90).endswith('.'), 'the first sentence of the docstring is the short help'
    assert [option.name for option in command.params if isinstance(option, click.Option) and not option.help] == []
    assert '--debug' in shown


def test_the_help_lists_every_command_in_its_section(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(['--help']) == 0
    shown = capsys.readouterr().out
    for section, names in program.SECTIONS.items():
        assert f'{section}:' in shown
        assert [name for name in names if not re.search(rf'^  {name} +\w', shown, re.MULTILINE)] == []
    for code, meaning in EXIT_CODES.items():
        assert f'{code:3}  {meaning}\n' in shown


@pytest.mark.parametrize(
    ('words', 'text'),
    [
        (['serv'], "there is no command 'serv': did you mean 'serve'? (cinderless --help)"),
        (['backup', 'restor'], "there is no command 'restor': did you mean 'restore'? (cinderless backup --help)"),
        (['xyzzy'], "there is no command 'xyzzy': cinderless --help lists the commands"),
        (['status', '--jsn'], 'No such option'),
        (['deploy'], "Missing argument 'STAGE' (cinderless deploy --help)"),
        (['logs', '-n', 'many'], "'many' is not a valid integer"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    words: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main(words) == 2
    said = capsys.readouterr()
    assert said.out == ''
    assert said.err.startswith('cinderless: ')
    assert text in said.err
    assert said.err.count('\n') == 1


def test_an_unexpected_error_is_one_line_and_with_debug_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from infra import package

    def broken(progress: object) -> int:
        raise RuntimeError('the disk melted')

    monkeypatch.setattr(package, 'main', broken)
    monkeypatch.setenv('DEBUG', '')
    assert program.main(['package']) == 1
    assert capsys.readouterr().err == 'cinderless: RuntimeError: the disk melted (--debug shows where)\n'
    for words in (['package', '--debug'], ['--debug', 'package']):
        assert program.main(words) == 1
        assert 'Traceback' in capsys.readouterr().err


def test_an_interrupt_is_exit_code_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from infra import package

    def interrupted(progress: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(package, 'main', interrupted)
    assert program.main(['package']) == 130
    assert capsys.readouterr().err.strip() == 'interrupted'


@pytest.mark.parametrize('shell', ['bash', 'zsh', 'fish'])
def test_a_shell_completes_commands(shell: str) -> None:
    done = run('completion', shell)
    assert done.returncode == 0, done.stderr
    assert program.COMPLETE in done.stdout
    words = {'bash': {'COMP_WORDS': 'cinderless backup re', 'COMP_CWORD': '2'}}.get(shell)
    if words:
        completed = run(**{program.COMPLETE: 'bash_complete'}, **words)
        assert completed.stdout.split() == ['plain,restore']


def test_a_reader_that_ends_early_is_no_error() -> None:
    command = f'"{sys.executable}" -m cinderless --help | head -1'
    done = subprocess.run(['bash', '-c', command], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ''


def imported(path: Path) -> set[str]:
    tree = ast.walk(ast.parse(path.read_text(encoding='utf-8')))
    nodes = [node for node in tree if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [node.module or '' if isinstance(node, ast.ImportFrom) else node.names[0].name for node in nodes]
    return {name.partition('.')[0] for name in names}


def test_what_is_deployed_does_not_import_the_program() -> None:
    """Nor do the packages below it, or what it needs of others."""
    folders = [ROOT / name for name in ('chalicelib', 'appliance', 'infra', 'local')]
    files = [ROOT / 'app.py', *(path for folder in folders for path in folder.rglob('*.py'))]
    assert [path for path in files if imported(path) & {'cinderless', 'click', 'rich'}] == []


def test_starting_the_program_imports_little() -> None:
    """``cinderless serve`` begins with it, and its help must not wait for the SDK."""
    code = 'import cinderless.program, sys; cinderless.program.main(["serve", "--help"]); print(*sys.modules)'
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {'boto3', 'botocore', 'moto', 'rich', 'pynamodb', 'yaml'} & set(done.stdout.splitlines()[-1].split())
