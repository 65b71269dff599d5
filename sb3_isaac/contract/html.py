"""Pages of HTML that need no network."""

from __future__ import annotations

import html
from typing import Any, Sequence

STYLE = ("body{font:15px/1.5 sans-serif;max-width:1100px;margin:2em auto;padding:0 1em;color:#222}"
         "table{border-collapse:collapse}td,th{padding:.2em .8em;border-bottom:1px solid #ddd;text-align:left}"
         "h2{margin-top:2em}.none{color:#777}img{display:block;max-width:100%;margin:1em 0}"
         "pre{white-space:pre-wrap;overflow-wrap:anywhere;background:#eef;padding:.6em}"
         "h1,h2,p,td{overflow-wrap:anywhere}")


def page(title: str, parts: Sequence[str], head: str = "") -> str:
    """A whole page of `parts`, which are HTML already; `title` is plain text."""
    return ("<!doctype html><html><head><meta charset='utf-8'>"
            f"<meta name='viewport' content='width=device-width'><title>{html.escape(title)}</title>"
            f"<style>{STYLE}</style>{head}</head><body>{''.join(parts)}</body></html>\n")


def table(head: Sequence[Any], rows: Sequence[Sequence[Any]]) -> str:
    """A table of plain cells."""
    def line(cells: Sequence[Any], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(_text(cell))}</{tag}>" for cell in cells) + "</tr>"
    return f"<table>{line(head, 'th')}{''.join(line(row, 'td') for row in rows)}</table>"


def _text(cell: Any) -> str:
    if not isinstance(cell, float):
        return str(cell)
    return f"{cell:,.5g}" if abs(cell) < 1e4 else f"{cell:,.0f}"
