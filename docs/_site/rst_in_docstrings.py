"""griffe: what docstrings say in reStructuredText, as the Markdown that mkdocstrings reads.

Roles become links, where the reference has what they name, and simple tables become tables.
"""

from __future__ import annotations

import re

import griffe

ROLE = re.compile(r":\w+:`(~?)([^`]+)`")
RULE = re.compile(r"^ *=+(?: +=+)+ *$")


class RstInDocstrings(griffe.Extension):
    """Changes each docstring when it is read."""

    def on_object(self, *, obj, loader, **kwargs):
        """Of a module, class, function or attribute."""
        if obj.docstring is not None:
            obj.docstring.value = markdown(obj.docstring.value)


def markdown(text):
    """A docstring's text."""
    return ROLE.sub(_link, "\n".join(_tables(text.splitlines())))


def _link(role):
    short, name = role[1], role[2]
    shown = name.rsplit(".", 1)[-1] if short else name
    return f'<autoref identifier="{name}" optional><code>{shown}</code></autoref>'


def _tables(lines):
    """Lines, with each simple table as one of Markdown: a rule, the head, a rule, rows, a rule."""
    at = 0
    while at < len(lines):
        if not RULE.match(lines[at]):
            yield lines[at]
            at += 1
            continue
        starts = [match.start() for match in re.finditer("=+", lines[at])]
        end = max(k for k in range(at, len(lines)) if RULE.match(lines[k]) and _rules(lines, at, k) <= 3)
        yield from _table(lines[at + 1:end], starts)
        at = end + 1


def _rules(lines, first, last):
    return sum(1 for line in lines[first:last + 1] if RULE.match(line))


def _table(lines, starts):
    rows = []
    for line in lines:
        if RULE.match(line):
            continue
        cells = [line[a:b].strip() for a, b in zip(starts, [*starts[1:], len(line)])]
        if cells[0] or not rows:
            rows.append(cells)
        else:  # a cell that goes on
            rows[-1] = [f"{above} {below}".strip() for above, below in zip(rows[-1], cells)]
    for k, cells in enumerate(rows):
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
        if k == 0:
            yield "|" + "---|" * len(cells)
