"""Robots of other packages by name: MuJoCo Menagerie and robot_descriptions, where they are installed."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil

from sb3_isaac.contract.errors import UserError, unknown

PREFIXES = ("menagerie/", "robot_descriptions/")


def robot_file(name: str) -> str:
    """The model file of a robot such as ``menagerie/unitree_go2`` or ``robot_descriptions/go2_mj_description``.

    The first use downloads it, to where the package keeps its files.

    :raises UserError: for a package that is not installed, an unknown robot, or a download that fails.
    """
    package, _, robot = name.partition("/")
    return _menagerie(robot) if package == "menagerie" else _robot_descriptions(robot)


def _need(package: str, name: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise UserError(f"robot {name!r} needs the package {package}, which is not installed: run "
                        "pip install 'sb3_isaac[robots]'.")


def _menagerie(robot: str) -> str:
    name = f"menagerie/{robot}"
    _need("mujoco_menagerie", name)
    package = importlib.import_module("mujoco_menagerie")
    if robot not in package.names():
        raise unknown("robot of MuJoCo Menagerie", robot, package.names())
    entry = package.get(robot)
    try:
        return str(entry.xml(entry.default_model))
    except (package.MenagerieError, OSError) as error:
        raise _not_loaded(name, error, "set MENAGERIE_ROOT to a checkout of mujoco_menagerie") from error


def _robot_descriptions(robot: str) -> str:
    name = f"robot_descriptions/{robot}"
    _need("robot_descriptions", name)
    package = importlib.import_module("robot_descriptions")
    known = [module.name for module in pkgutil.iter_modules(package.__path__) if module.name.endswith("_description")]
    if robot not in known:
        raise unknown("robot of robot_descriptions", robot, known)
    try:
        module = importlib.import_module(f"robot_descriptions.{robot}")  # it clones a repository when imported
    except Exception as error:  # git's errors, which are a third package's
        raise _not_loaded(name, error, "clone the repository that it names by hand") from error
    path = getattr(module, "MJCF_PATH", None) or getattr(module, "URDF_PATH", None)
    if path is None:
        raise UserError(f"robot {name!r} has neither an MJCF nor a URDF file: choose another of robot_descriptions.")
    return str(path)


def _not_loaded(name: str, error: BaseException, otherwise: str) -> UserError:
    said = " ".join(str(error).split())[:200]
    return UserError(f"robot {name!r} could not be downloaded ({type(error).__name__}: {said}): connect to the "
                     f"internet and try again, or {otherwise}.")
