"""``sb3-isaac plot RUN...``: learning curves of one or more runs as a picture."""

from __future__ import annotations

import argparse
from pathlib import Path

from sb3_isaac.cli.outputs import Output, check_outputs
from sb3_isaac.contract.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """RUNs and where the picture goes."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folders")
    parser.add_argument("--out", help="a .png, .pdf or .svg file (default: curve.png in the first run folder)")
    parser.add_argument("--labels", nargs="+", help="a name for each run (default: its folder's); runs of the same "
                        "name are drawn as a band")


def run(args: argparse.Namespace) -> int:
    """Draw."""
    from sb3_isaac.contract.figures import PICTURES
    from sb3_isaac.view.plot import draw, read_run

    runs = [read_run(Path(name)) for name in args.runs]
    labels = args.labels or [Path(name).name for name in args.runs]
    if len(labels) != len(runs):
        raise UserError(f"{len(labels)} labels for {len(runs)} runs: give one for each.")
    check_outputs(Output("--out", args.out, PICTURES))
    out = Path(args.out) if args.out else runs[0].folder / "curve.png"
    draw(runs, labels, out)
    print(out)
    return 0
