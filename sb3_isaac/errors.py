"""One sentence for everything a user can get wrong: what was given, what is allowed, what to do."""

from __future__ import annotations

import difflib
from typing import Iterable


class UserError(ValueError):
    """A mistake of the caller's. The command line prints its sentence and exits with code 2."""


def unknown(what: str, given: object, allowed: Iterable[object], where: str = "") -> UserError:
    """An error that names an unknown `given` and its nearest valid neighbours.

    `what` is the kind of thing ("reward term", "environment id"), `where` the file or argument it stood in.
    """
    valid = sorted(str(a) for a in allowed)
    near = difflib.get_close_matches(str(given), valid, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    place = f" in {where}" if where else ""
    return UserError(f"unknown {what} {str(given)!r}{place}: {hint}valid are {', '.join(valid) or 'none'}.")
