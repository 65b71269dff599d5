"""What the Warp engine needs before it can step: the library, a device, sizes of its buffers, memory, kernels."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import math
import sys
import threading
from typing import Any, Iterator, NamedTuple, Optional, Tuple

import mujoco
import numpy as np
import torch

from sb3_isaac.contract.device import usable_device
from sb3_isaac.contract.errors import UserError, whole_number
from sb3_isaac.engine.cpu import quiet
from sb3_isaac.engine.ground_planes import Heights

INSTALL = "pip install 'sb3_isaac[warp]'"
MATCHED_CONTACTS = 16
"""Contacts of one body that its contact sensor adds up. Kernels are compiled for this number."""
PROBED_POSES, PROBED_S, ROOM = 16, 1.5, 1.5
"""The model falls from so many random poses for so many seconds; buffers hold so many times what was met."""
LEAST_CONTACTS, LEAST_ROWS = 24, 64
SLOW_S = 5.0
"""A start that takes longer says why."""


class Sizes(NamedTuple):
    """Room for contacts (a share of one buffer for all worlds) and for constraint rows, each for one world."""

    nconmax: int
    njmax: int


def libraries() -> Tuple[Any, Any]:
    """(warp, mujoco_warp), imported when they are first wanted.

    :raises UserError: where they are not installed, or do not fit this MuJoCo.
    """
    try:
        warp = importlib.import_module("warp")
        warp.config.log_level = max(warp.config.log_level, warp.LOG_ERROR)  # no banner, no line for each kernel
        return warp, importlib.import_module("mujoco_warp")
    except ImportError as error:
        raise UserError(f"sim='mujoco_warp' needs MuJoCo Warp ({error}): {INSTALL}, or use sim='mujoco'.") from error
    except AttributeError as error:
        raise UserError(f"this MuJoCo Warp does not fit MuJoCo {mujoco.__version__} ({error}): {INSTALL}.") from error


def warp_device(name: str, warp: Any) -> torch.device:
    """Where physics and tensors live; ``auto`` is the first GPU where there is one, else the CPU.

    :raises UserError: where torch or Warp has no such device.
    """
    found = usable_device("cuda:0" if name == "auto" and torch.cuda.is_available() else name)
    if found.type not in ("cpu", "cuda"):
        raise UserError(f"device {name!r} is not where sim='mujoco_warp' runs: give 'auto', 'cpu', or a CUDA device "
                        "such as 'cuda:0'.")
    warp.init()
    if found.type == "cuda" and not warp.is_device_available(str(found)):
        raise UserError(f"device {name!r} is there for PyTorch and not for Warp {warp.__version__}, which needs a "
                        "newer driver of the GPU: update the driver, or use sim='mujoco' and device='cpu'.")
    if found.type == "cpu" and name == "auto":
        _tell("sim='mujoco_warp' found no GPU and runs on the CPU, many times slower than sim='mujoco'.")
    return found


def _tell(line: str) -> None:
    """A line for a person, on standard error: standard output may be JSON."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def said_where_slow(warp: Any) -> Iterator[None]:
    """A line on the screen where kernels are compiled, which takes minutes the first time."""
    line = ("sim='mujoco_warp' prepares its kernels: the first start of a model of this kind compiles them, which "
            f"takes minutes, and those that follow find them in {warp.config.kernel_cache_dir}.")
    timer = threading.Timer(SLOW_S, _tell, (line,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def put_model(model: mujoco.MjModel, warp: Any, mjw: Any) -> Any:
    """The model on Warp's present device.

    :raises UserError: where it has what MuJoCo Warp lacks.
    """
    try:
        put = mjw.put_model(model)
    except (NotImplementedError, ValueError) as error:
        raise UserError(f"sim='mujoco_warp' cannot simulate this model ({str(error).rstrip('.')}): change that in its "
                        "file, or use sim='mujoco'.") from error
    put.opt.warn_overflow = 0  # counted, not printed by each world
    put.opt.contact_sensor_maxmatch = MATCHED_CONTACTS
    put.opt.graph_conditional = bool(put.opt.graph_conditional and warp.is_conditional_graph_supported())
    return put


def moving_planes(model: mujoco.MjModel, ground: Heights, device: torch.device) -> Any:
    """The model's planes as uneven ground; the kernel's file is imported here, since it needs Warp itself."""
    return importlib.import_module("sb3_isaac.engine.warp_ground").MovingPlanes(model, ground, device)


def choose_sizes(model: mujoco.MjModel, nconmax: Optional[int], njmax: Optional[int]) -> Sizes:
    """The sizes that were given, else those that a fall from random poses shows to be enough."""
    given = [None if value is None else whole_number(name, value, most=100_000)
             for name, value in (("nconmax", nconmax), ("njmax", njmax))]
    contacts, rows = (0, 0) if None not in given else most_contacts(model)
    # By powers of 2: kernels are compiled for each njmax.
    return Sizes(given[0] or max(LEAST_CONTACTS, math.ceil(ROOM * contacts)),
                 given[1] or max(LEAST_ROWS, 2**math.ceil(math.log2(max(1.0, ROOM * rows)))))


def most_contacts(model: mujoco.MjModel) -> Tuple[int, int]:
    """(contacts, constraint rows), the most of any moment while the model falls from random poses without control."""
    rng, data = np.random.default_rng(0), mujoco.MjData(model)
    most = np.zeros(2, dtype=int)
    with quiet():
        for _ in range(PROBED_POSES):
            mujoco.mj_resetData(model, data)
            for joint in range(model.njnt):
                address, kind = model.jnt_qposadr[joint], model.jnt_type[joint]
                if kind == mujoco.mjtJoint.mjJNT_FREE:
                    data.qpos[address + 3:address + 7] = rng.normal(size=4)
                elif kind == mujoco.mjtJoint.mjJNT_HINGE and model.jnt_limited[joint]:
                    data.qpos[address] = rng.uniform(*model.jnt_range[joint])
            mujoco.mj_normalizeQuat(model, data.qpos)
            for _ in range(math.ceil(PROBED_S / model.opt.timestep)):
                mujoco.mj_step(model, data)
                most = np.maximum(most, (data.ncon, data.nefc))
    return int(most[0]), int(most[1])


def bytes_for_each(model: mujoco.MjModel, mjw: Any, sizes: Sizes) -> int:
    """Bytes that each further world takes, by the arrays of two and of one.

    Twice what ``Data`` holds: the solver's and the collisions' own arrays are about as large.
    """
    one, two = (array_bytes(mjw.make_data(model, nworld=count, **sizes._asdict())) for count in (1, 2))
    return 2 * (two - one)


def array_bytes(data: Any) -> int:
    """Bytes of all Warp arrays in a dataclass and in those within it."""
    values = [getattr(data, field.name, None) for field in dataclasses.fields(data)]
    return sum(array_bytes(value) if dataclasses.is_dataclass(value) else int(getattr(value, "capacity", 0))
               for value in values)


def check_worlds_fit(num_worlds: int, each: int, free: int, device: torch.device) -> None:
    """Raise a UserError with the number of worlds that fit, where `num_worlds` of `each` bytes do not."""
    if num_worlds * each > free:
        raise UserError(f"{num_worlds} worlds need about {num_worlds * each / 1e9:.1f} GB and {free / 1e9:.1f} GB are "
                        f"free on {device}: give at most {max(1, free // each)} (--num-envs, or num_envs).")
