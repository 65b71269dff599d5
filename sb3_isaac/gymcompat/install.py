"""``import isaacgym`` finds NVIDIA's package where there is one, and the emulation elsewhere or on request.

Nothing is ever installed under the name ``isaacgym``: the emulation is put in place for one process, by a call. This
module imports neither torch nor MuJoCo, because NVIDIA's package insists on being imported before torch.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
import types
from typing import Optional

from sb3_isaac.contract.errors import UserError, unknown
from sb3_isaac.gymcompat.runtime.settings import Settings, current, use

CHOICES = ("auto", "isaacgym", "mujoco")
MODULES = ("gymapi", "gymtorch", "gymutil", "torch_utils", "terrain_utils")
"""What the emulation has of the package ``isaacgym``."""


def install(sim: str = "auto", *, cuda_to_cpu: Optional[bool] = None, threads: Optional[int] = None) -> str:
    """Decide what ``import isaacgym`` means in this process, print that in one line, and import it.

    :param sim: ``isaacgym`` is NVIDIA's package, ``mujoco`` the emulation, ``auto`` the former where it is installed
        or imported already, else the latter.
    :param cuda_to_cpu: let a program that asks the emulation for a CUDA device have the CPU (by default it is refused
        with a sentence).
    :param threads: physics threads of the emulation, by default one for each available core. Either setting stays as
        it is where it is left out.
    :return: ``isaacgym`` or ``mujoco``.
    :raises UserError: where that cannot be had any more, or at all.
    """
    if sim not in CHOICES:
        raise unknown("sim", sim, CHOICES)
    present = sys.modules.get("isaacgym")
    emulated = is_emulated()
    if present is not None and sim not in ("auto", "mujoco" if emulated else "isaacgym"):
        imported = "the emulated" if emulated else "NVIDIA's"
        raise UserError(f"sim={sim!r} was asked for after {imported} isaacgym was imported: a process can have one of "
                        "the two, so start another process.")
    if emulated or (present is None and (sim == "mujoco" or (sim == "auto" and not is_installed()))):
        now = current()
        use(Settings(cuda_to_cpu=now.cuda_to_cpu if cuda_to_cpu is None else cuda_to_cpu,
                     threads=now.threads if threads is None else threads))
        if present is None:
            _emulate()
        return "mujoco"
    if present is None:
        _import_nvidias()
    return "isaacgym"


def is_emulated() -> bool:
    """Whether ``import isaacgym`` gives the emulation by now."""
    return bool(getattr(sys.modules.get("isaacgym"), "__emulated__", False))


def nvidia_is_imported() -> bool:
    """Whether this process has imported NVIDIA's package; the emulation does not count."""
    return sys.modules.get("isaacgym") is not None and not is_emulated()


def is_installed() -> bool:
    """Whether NVIDIA's package is there, imported or not."""
    if "isaacgym" in sys.modules:
        return not is_emulated()
    return importlib.util.find_spec("isaacgym") is not None


def _import_nvidias() -> None:
    if not is_installed():
        raise UserError("sim='isaacgym' was asked for and NVIDIA's isaacgym is not installed here: install it, or "
                        "leave the choice out to have it emulated on MuJoCo.")
    if "torch" in sys.modules:
        raise UserError("NVIDIA's isaacgym has to be imported before torch, which is here already: import isaacgym "
                        "first, at the top of the program.")
    package = importlib.import_module("isaacgym")
    importlib.import_module("isaacgym.gymapi")
    _report(f"isaacgym is NVIDIA's, from {getattr(package, '__file__', '?')}")


def _emulate() -> None:
    if sys.version_info < (3, 11) or importlib.util.find_spec("mujoco") is None:
        raise UserError("the emulation of Isaac Gym needs Python 3.11 or newer and MuJoCo 4 (pip install "
                        f"'mujoco>=4,<5'): this is Python {sys.version_info[0]}.{sys.version_info[1]}"
                        f"{'' if importlib.util.find_spec('mujoco') else ' without mujoco'}.")
    package = types.ModuleType("isaacgym", "Isaac Gym's tensor API, emulated by sb3_isaac on MuJoCo.")
    package.__path__ = []
    package.__spec__ = importlib.machinery.ModuleSpec("isaacgym", loader=None, is_package=True)
    package.__emulated__ = True  # type: ignore[attr-defined]
    modules = {name: importlib.import_module(f"sb3_isaac.gymcompat.api.{name}") for name in MODULES}
    for name, module in modules.items():
        setattr(package, name, module)
        sys.modules[f"isaacgym.{name}"] = module
    sys.modules["isaacgym"] = package
    import mujoco

    _report(f"isaacgym is emulated on MuJoCo {mujoco.__version__}, CPU")


def _report(text: str) -> None:
    print(f"sb3_isaac: {text}", file=sys.stderr, flush=True)
