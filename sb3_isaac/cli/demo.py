"""``sb3-isaac demo [ENV]``: a trained policy that comes with the package, in a window, in the browser or in a video."""

from __future__ import annotations

import argparse

from sb3_isaac.cli import play
from sb3_isaac.contract.errors import unknown
from sb3_isaac.contract.output import say

HOLD_S = 4.0
"""Robots go on to the next of their task's commands after so many seconds."""
DEFAULT = "IsaacQuadrupedVelocity-v0"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """ENV, and how to show it, as ``play`` has it."""
    parser.add_argument("run", metavar="ENV", nargs="?", default=DEFAULT,
                        help="a task that a policy was trained for (default: %(default)s)")
    play.add_playing(parser, seconds=2 * HOLD_S)


def run(args: argparse.Namespace) -> int:
    """Play; on the page where there is no display and no file is asked for."""
    from sb3_isaac.engine.gl import has_display
    from sb3_isaac.policy.formats import TRAINED

    known = sorted(path.stem for path in TRAINED.glob("*.pth"))
    if args.run not in known:
        raise unknown("demo", args.run, known)
    if not (args.video or args.picture or args.view or args.view_at or has_display()):
        say("there is no display to open a window on: robots are shown on a page in the browser.")
        args.view = True
    return play.run(args, hold_s=HOLD_S)
