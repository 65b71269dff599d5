"""``sb3-isaac list``: what there is to train, with its names."""

from __future__ import annotations

import argparse
import inspect
from typing import Any, Iterable, List, Mapping

from sb3_isaac.cli.main import add_gym_packages, import_gym_packages
from sb3_isaac.contract.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Only what registers tasks of one's own."""
    add_gym_packages(parser)


def run(args: argparse.Namespace) -> int:
    """Print all names."""
    import_gym_packages(args)
    print("\n".join(lines()))
    return 0


def lines() -> List[str]:
    """Environments with their tables, then robots, algorithms and shipped settings."""
    from sb3_isaac.config.files import shipped
    from sb3_isaac.contract.ids import TASKS
    from sb3_isaac.rl.training.build import ALGORITHMS, UNTUNED
    from sb3_isaac.robots import ROBOTS
    from sb3_isaac.sim import SIMULATORS
    from sb3_isaac.tasks import task_class

    found = ["environments (--env):"]
    for env_id in TASKS:
        try:
            found += _task(env_id, task_class(env_id))
        except UserError as error:  # of a user's own; the others are listed all the same
            found.append(f"  {env_id}: {error}")
    algorithms = [f"{name} (untuned)" if name in UNTUNED else name for name in ALGORITHMS]
    return [*found, "", _row("robots (--env-kwargs robot:NAME, or a file)", ROBOTS),
            _row("simulators (--env-kwargs sim:NAME)", SIMULATORS),
            _row("algorithms (--algo)", algorithms), _row("settings (-conf)", shipped())]


def _task(env_id: str, cls: Any) -> List[str]:
    """A task: what it is, and the names in its tables."""
    from sb3_isaac.contract.tensor_env import constructor_parameters

    module = inspect.getdoc(inspect.getmodule(cls)) or ""
    about = (inspect.getdoc(cls) or "").split("\n")[0] if env_id not in (inspect.getdoc(cls) or "") else module
    found = [f"  {env_id}: {about.splitlines()[0] if about else cls.__name__}"]
    options = [name for name in constructor_parameters(cls) if name not in ("num_envs", "seed", "render_mode")]
    rewards = [f"{name} {term.weight:g}" for name, term in getattr(cls, "REWARD", {}).items()]
    for label, names in (("commands", getattr(cls, "COMMAND", ())), ("reward terms and weights", rewards),
                         ("terminations", getattr(cls, "TERMINATION", ())), ("options", options)):
        if isinstance(names, (Mapping, list)) and names:
            found.append(f"    {_row(label, names)}")
    return found


def _row(label: str, names: Iterable[str]) -> str:
    return f"{label}: {', '.join(names)}"
