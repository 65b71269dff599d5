"""``sb3-isaac compare RUN... --with RUN...``: two groups of runs, such as seeds of two settings."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from sb3_isaac.cli.outputs import Output, check_outputs
from sb3_isaac.contract.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Both groups, and where the page goes."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folders of the first group")
    parser.add_argument("--with", nargs="+", required=True, metavar="RUN", dest="others",
                        help="run folders of the second group")
    parser.add_argument("--labels", nargs=2, metavar=("FIRST", "SECOND"),
                        help="names of the groups (default: of their first folders)")
    parser.add_argument("--out", help="HTML file (default: compare.html in the first run folder)")
    parser.add_argument("--json", action="store_true", help="print one JSON list and nothing else")


def run(args: argparse.Namespace) -> int:
    """Compare, print the table and write the page."""
    from sb3_isaac.view.compare import as_json, cells, compare, named, write_page
    from sb3_isaac.view.plot import read_run

    first, second = ([read_run(Path(name)) for name in names] for names in (args.runs, args.others))
    labels = args.labels or [Path(names[0]).resolve().name for names in (args.runs, args.others)]
    if labels[0] == labels[1]:
        labels = [f"{labels[0]} (1)", f"{labels[1]} (2)"] if args.labels is None else labels
    if labels[0] == labels[1]:
        raise UserError(f"both groups are called {labels[0]!r}: give --labels two names.")
    check_outputs(Output("--out", args.out, (".html",)))
    rows = compare(first, second)
    out = Path(args.out) if args.out else first[0].folder / "compare.html"
    write_page(rows, first, second, labels, out)
    if args.json:
        print(json.dumps(as_json(rows)))
        return 0
    lines = [named(labels), *cells(rows, (len(first), len(second)))]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
    print(out)
    return 0
