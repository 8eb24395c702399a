"""The Terraform module's variables and outputs, from the template's: ``make docs`` writes infra/terraform/*.tf.

The module deploys the packaged template through CloudFormation (docs/decisions/0063-terraform-and-idle-cost.md), so a
parameter of the template is a variable of the module, with the same limits, under its name in snake case.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from infra.render import ROOT, templates

FOLDER = ROOT / 'infra' / 'terraform'

HEADER = '# Generated from the template: make docs.\n'

#: Parameters whose texts main.tf writes to the parameter store, as ``make deploy`` does.
SECRETS = ('IdentityDocument', 'KeystonePassword')

#: CloudFormation's type -> Terraform's.
TYPES = {'Number': 'number', 'String': 'string', 'CommaDelimitedList': 'list(string)'}


def snake(name: str) -> str:
    """Return worker_subnet_ids for WorkerSubnetIds, rest_api_id for RestAPIId."""
    return re.sub(r'(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])', '_', name).lower()


def is_flag(declared: Mapping[str, Any]) -> bool:
    """Whether a parameter is true or false."""
    return sorted(map(str, declared.get('AllowedValues', ()))) == ['false', 'true']


def kind(declared: Mapping[str, Any]) -> str:
    return 'bool' if is_flag(declared) else TYPES[declared['Type']]


def variables(parameters: Mapping[str, Any]) -> str:
    """Return variables.tf."""
    blocks = [_variable(name, parameters[name]) for name in sorted(parameters)]
    return HEADER + ''.join(f'\n{block}' for block in blocks)


def _variable(name: str, declared: Mapping[str, Any]) -> str:
    rows = {
        'description': _text(' '.join(str(declared.get('Description', '')).split())),
        'type': kind(declared),
        'default': _default(declared),
        **({'sensitive': 'true'} if declared.get('NoEcho') else {}),
    }
    body = _aligned(rows, '  ') + _validation(snake(name), declared)
    return f'variable "{snake(name)}" {{\n{body}}}\n'


def _default(declared: Mapping[str, Any]) -> str:
    text = str(declared.get('Default', ''))
    if declared['Type'] == 'CommaDelimitedList':
        return json.dumps([item for item in text.split(',') if item])
    return text if kind(declared) in ('number', 'bool') else _text(text)


def _validation(name: str, declared: Mapping[str, Any]) -> str:
    """Return the limits that CloudFormation would check only after the upload."""
    found: list[tuple[str, str]] = []
    if 'AllowedValues' in declared and not is_flag(declared):
        allowed = [str(value) for value in declared['AllowedValues']]
        found.append((f'contains({json.dumps(allowed)}, var.{name})', f'Allowed are {", ".join(allowed)}.'))
    if 'AllowedPattern' in declared:
        found.append((f'can(regex({_text("^" + declared["AllowedPattern"] + "$")}, var.{name}))',
                      f'It must match {declared["AllowedPattern"]}.'))  # fmt: skip
    low, high = declared.get('MinValue'), declared.get('MaxValue')
    bounds = [f'var.{name} >= {low}'] if low is not None else []
    bounds += [f'var.{name} <= {high}'] if high is not None else []
    if bounds:
        limits = f'from {low}' + (f' to {high}' if high is not None else '')
        found.append((' && '.join(bounds), f'Give a whole number {limits}.'))
    return ''.join(_check(condition, f'{name}: {message[0].lower()}{message[1:]}') for condition, message in found)


def _check(condition: str, message: str) -> str:
    rows = _aligned({'condition': condition, 'error_message': _text(message)}, '    ')
    return f'\n  validation {{\n{rows}  }}\n'


def _aligned(rows: Mapping[str, str], indent: str) -> str:
    """Return arguments as ``terraform fmt`` writes them."""
    width = max(map(len, rows))
    return ''.join(f'{indent}{key.ljust(width)} = {value}\n' for key, value in rows.items())


def _text(text: str) -> str:
    """Return a quoted text; ${ and %{ begin templates."""
    return json.dumps(text, ensure_ascii=False).replace('${', '$${').replace('%{', '%%{')


def parameters_local(parameters: Mapping[str, Any]) -> str:
    """Return parameters.tf: the template's parameters from the variables, without the secrets."""
    rows = {name: _value(name, parameters[name]) for name in sorted(parameters) if name not in SECRETS}
    return f'{HEADER}\nlocals {{\n  parameters = {{\n{_aligned(rows, "    ")}  }}\n}}\n'


def _value(name: str, declared: Mapping[str, Any]) -> str:
    reference = f'var.{snake(name)}'
    if declared['Type'] == 'CommaDelimitedList':
        return f'join(",", {reference})'
    return f'tostring({reference})' if kind(declared) in ('number', 'bool') else reference


def outputs(names: Iterable[str]) -> str:
    """Return outputs.tf."""
    return HEADER + ''.join(
        f'\noutput "{snake(name)}" {{\n  value = aws_cloudformation_stack.this.outputs["{name}"]\n}}\n'
        for name in sorted(names)
    )


def files() -> dict[Path, str]:
    """{path: text} of the generated files."""
    template = json.loads((templates() / 'plain.json').read_text(encoding='utf-8'))
    return {
        FOLDER / 'variables.tf': variables(template['Parameters']),
        FOLDER / 'parameters.tf': parameters_local(template['Parameters']),
        FOLDER / 'outputs.tf': outputs(template['Outputs']),
    }


if __name__ == '__main__':
    for path, text in files().items():
        path.write_text(text, encoding='utf-8')
