"""``--view`` and ``--view-at``: the page in the browser."""

from __future__ import annotations

import argparse
from typing import Any

from sb3_isaac.contract.output import say


def add_view(parser: argparse.ArgumentParser) -> None:
    """The two flags."""
    parser.add_argument("--view", action="store_true", help="show robots and numbers on a page in the browser, at "
                        "http://127.0.0.1:8765 of this machine alone")
    parser.add_argument("--view-at", metavar="HOST:PORT", help="the same at another place; where other machines can "
                        "reach it, the page asks for the token in the address that is printed")


def live_page(args: argparse.Namespace) -> Any:
    """The page's server that the flags ask for, its address printed; None where they do not."""
    if not args.view and args.view_at is None:
        return None
    from sb3_isaac.view.live.server import LiveServer, address, first_free

    page = first_free() if args.view_at is None else LiveServer(*address(args.view_at))
    say(f"look at {page.url}")
    return page
