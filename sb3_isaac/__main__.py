"""``python -m sb3_isaac`` is the command ``sb3-isaac``."""

from __future__ import annotations

import os
import sys

import sb3_isaac


def forget_current_folder() -> None:
    """Take the current folder, where ``python -m`` looks for modules first, from the path.

    A folder from a stranger may hold a ``torch.py``. ``--gym-packages`` puts the folder back.
    """
    here = os.getcwd()
    if sys.path and sys.path[0] in ("", here) and os.path.dirname(os.path.dirname(sb3_isaac.__file__)) != here:
        del sys.path[0]


if __name__ == "__main__":
    forget_current_folder()

from sb3_isaac.cli.main import main  # noqa: E402

if __name__ == "__main__":
    raise SystemExit(main())
