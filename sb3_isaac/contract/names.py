"""Python objects that a configuration names, such as ``my_tasks.jump``: only from packages that were allowed.

Importing is executing, so no file may say what is imported. The command line's ``--gym-packages`` does.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any, Iterable, Set

from sb3_isaac.contract.errors import UserError, brief

_ALLOWED: Set[str] = {"sb3_isaac"}


def allow_packages(packages: Iterable[str]) -> None:
    """Let configurations name what is in these modules and below them, from now on in this process."""
    _ALLOWED.update(packages)


def is_allowed(module: str) -> bool:
    """Whether configurations may name what is in `module`."""
    return any(f"{module}.".startswith(f"{package}.") for package in _ALLOWED)


def find_object(name: object, what: str, also: Iterable[str] = ()) -> Any:
    """The object at the dotted `name`.

    :param what: what it is for, as error messages say it, such as "reward term 'jump'".
    :param also: packages that are allowed for this purpose without being named by the user.
    :raises UserError: for a name outside of the allowed packages, or that is not there.
    """
    if not isinstance(name, str) or "." not in name or not all(part.isidentifier() for part in name.split(".")):
        raise UserError(f"{what} is {brief(name)}: give a function, or its name such as my_tasks.jump.")
    module, _, attribute = name.rpartition(".")
    allowed = sorted({*_ALLOWED, *also})
    if not is_allowed(module) and not any(f"{module}.".startswith(f"{package}.") for package in also):
        raise UserError(f"{what} is {name}, which is in none of {', '.join(allowed)}, and importing it would run its "
                        f"code: allow it with --gym-packages {name.split('.')[0]}.")
    try:
        return getattr(sys.modules.get(module) or importlib.import_module(module), attribute)
    except Exception as error:  # a module may raise anything while it is imported
        raise UserError(f"{what} is {name}, which cannot be found ({error}): correct the name.") from error
