"""Files that a command is told to write: refused, before any work, where they would replace what they are made of."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Iterable, NamedTuple, Optional, Tuple

from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.files import expect_writable
from sb3_isaac.rl.training.run_folder import RUN_FILES

YAML = (".yml", ".yaml")


class Output(NamedTuple):
    """A file that is written, the flag that it was given by, and how its name may end."""

    flag: str
    name: Optional[str]
    endings: Tuple[str, ...]


def check_outputs(*outputs: Output, inputs: Iterable[str] = ()) -> None:
    """Refuse a file that cannot be written, has another ending, is one of `inputs` or another output, or belongs to a
    run: what was saved is not to be lost by a slip. A device or a FIFO takes anything.

    :raises UserError: in a sentence with the flag.
    """
    taken = {os.path.realpath(name): "what is read" for name in inputs}
    for flag, name, endings in outputs:
        if name is None:
            continue
        expect_writable(name)
        path = Path(name)
        if path.exists() and not path.is_file():
            continue
        if path.suffix.lower() not in endings:
            raise UserError(f"{flag} was given {name!r}: give a file that ends in {' or '.join(endings)}.")
        real = os.path.realpath(name)
        why = taken.get(real) or _of_a_run(path)
        if why:
            raise UserError(f"{flag} would write over {name}, which is {why}: choose another name.")
        taken[real] = f"what {flag} writes"


def _of_a_run(path: Path) -> str:
    """Whose file it is, where a run or a checkpoint is in its folder."""
    is_run = path.name in RUN_FILES and any((path.parent / name).is_file() for name in ("meta.json", "config.yml"))
    return f"a file of the run {path.parent}" if is_run else ""
