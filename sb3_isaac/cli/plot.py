"""``sb3-isaac plot RUN...``: learning curves of one or more runs as a picture."""

from __future__ import annotations

import argparse
from pathlib import Path

from sb3_isaac.contract.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """RUNs and where the picture goes."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folders")
    parser.add_argument("--out", help="PNG file (default: curve.png in the first run folder)")
    parser.add_argument("--labels", nargs="+", help="a name for each run (default: its folder's)")


def run(args: argparse.Namespace) -> int:
    """Draw."""
    from sb3_isaac.view.plot import draw

    folders = [Path(name) for name in args.runs]
    for folder in folders:
        if not (folder / "metrics.csv").is_file():
            raise UserError(f"{str(folder)!r} holds no metrics.csv: give a folder that 'sb3-isaac train' wrote.")
    labels = args.labels or [folder.name for folder in folders]
    if len(labels) != len(folders):
        raise UserError(f"{len(labels)} labels for {len(folders)} runs: give one for each.")
    out = Path(args.out) if args.out else folders[0] / "curve.png"
    draw(folders, labels, out)
    print(out)
    return 0
