"""``python -m infra.webhook_template`` copies infra/webhook.py into deploy/webhook.yaml, as inline code."""

from __future__ import annotations

import textwrap

from infra.render import ROOT

TEMPLATE = ROOT / 'deploy' / 'webhook.yaml'
SOURCE = ROOT / 'infra' / 'webhook.py'

#: The last line of the template before the code.
MARK = '        ZipFile: |\n'


def rendered() -> str:
    """Return the template with the current source."""
    head, _, _ = TEMPLATE.read_text(encoding='utf-8').partition(MARK)
    return head + MARK + textwrap.indent(SOURCE.read_text(encoding='utf-8'), ' ' * 10)


if __name__ == '__main__':
    TEMPLATE.write_text(rendered(), encoding='utf-8')
