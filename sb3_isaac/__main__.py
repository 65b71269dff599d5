"""``python -m sb3_isaac`` is the command ``sb3-isaac``."""

from __future__ import annotations

from sb3_isaac.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
