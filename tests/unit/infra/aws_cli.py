"""A program in the AWS CLI's place: it records its calls, and answers as an account would."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

PROGRAM = """#!{python}
import json, os, pathlib, sys
folder = pathlib.Path({folder!r})
words = sys.argv[1:]
with (folder / 'calls').open('a') as log:
    log.write(json.dumps(words) + chr(10))
rest = words[4:] if '--profile' in words else words[2:]
known = json.loads((folder / 'answers').read_text())
names = dict(zip(words, words[1:]))
if '--output-template-file' in names:
    json.dump({{'Resources': {{}}}}, open(names['--output-template-file'], 'w'), indent=4)
given = names.get('--parameter-overrides', '')
if given.startswith('file://'):
    path = pathlib.Path(given.removeprefix('file://'))
    with (folder / 'files').open('a') as log:
        log.write(json.dumps([str(path), path.stat().st_mode & 0o777, path.read_text()]) + chr(10))
verb = ' '.join(rest[:2])
code = names.get('--quota-code', '')
if verb in known['errors']:
    sys.exit(known['errors'][verb])
print(known['answers'].get(f'{{verb}} {{code}}'.strip(), known['answers'].get(verb, '')))
"""

#: An account that AWS has raised to its usual limits.
ANSWERS: dict[str, Any] = {
    'sts get-caller-identity': '123456789012\tarn:aws:iam::123456789012:user/me',
    'lambda get-account-settings': {'ConcurrentExecutions': 1000, 'UnreservedConcurrentExecutions': 1000},
    'iam get-account-summary': {'Roles': 9, 'RolesQuota': 1000, 'Policies': 3, 'PoliciesQuota': 1500},
    'service-quotas get-service-quota': '100000',
    'service-quotas get-service-quota L-01C8A9E0': '300.0',
}


class Cli:
    """The program, and its calls. ``status`` is that of the stack, '' for none."""

    def __init__(
        self,
        folder: Path,
        status: str = 'UPDATE_COMPLETE',
        *,
        parameters: dict[str, str] | None = None,
        answers: dict[str, Any] | None = None,
        errors: dict[str, str] | None = None,
    ) -> None:
        self._folder = folder
        for name in ('calls', 'files'):
            (folder / name).write_text('')
        known = {'SecretStore': 'ParameterStore', **(parameters or {})}
        given = [{'ParameterKey': key, 'ParameterValue': value} for key, value in known.items()]
        stack = [status, given, [{'OutputKey': 'RestAPIId', 'OutputValue': 'api-1'}]]
        found = {'cloudformation describe-stacks': stack, **ANSWERS, **(answers or {})}
        texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in found.items()}
        failing = (
            {'dynamodb describe-table': 'ResourceNotFoundException'} if 'dynamodb describe-table' not in texts else {}
        )
        if not status:
            failing['cloudformation describe-stacks'] = 'Stack with id mine does not exist'
        (folder / 'answers').write_text(json.dumps({'answers': texts, 'errors': {**failing, **(errors or {})}}))
        self.program = folder / 'aws'
        self.program.write_text(PROGRAM.format(python=sys.executable, folder=str(folder)))
        self.program.chmod(0o755)

    def requests(self, verb: str = '') -> list[list[str]]:
        """Each command's words, or those of the commands that are called so."""
        lines = [json.loads(line) for line in (self._folder / 'calls').read_text().splitlines()]
        return [words for words in lines if not verb or _verb(words) == verb]

    @staticmethod
    def read(folder: Path) -> list[str]:
        """The commands that the last program in a folder ran."""
        return [_verb(json.loads(line)) for line in (folder / 'calls').read_text().splitlines()]

    def verbs(self) -> list[str]:
        return [_verb(words) for words in self.requests()]

    def files(self) -> list[tuple[str, int, str]]:
        """(path, mode, text) of each file of parameters."""
        return [tuple(json.loads(line)) for line in (self._folder / 'files').read_text().splitlines()]


def _verb(words: list[str]) -> str:
    rest = words[4:] if '--profile' in words else words[2:]
    return ' '.join(rest[:2])
