"""Simulators: N robots of one kind behind one small surface, whatever physics runs below.

Conventions end here. Quaternions are (w, x, y, z) and take body to world; velocities are in the frame that the
name's suffix says (``_w`` world, ``_b`` body); joints are in the order of ``Robot.joints``.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, Protocol, Tuple, Union

import torch

from sb3_isaac.contract.errors import UserError, number_above_zero, truth, unknown, whole_number
from sb3_isaac.contract.recorder import Recorder
from sb3_isaac.gymcompat.install import install, nvidia_is_imported
from sb3_isaac.robots import Robot
from sb3_isaac.terrain.heightfield import Heightfield

SIMULATORS = ("auto", "mujoco", "mujoco_warp", "isaacgym")
LEAST_PHYSICS_DT, MOST_PHYSICS_DT = 1e-4, 0.05


@dataclass(frozen=True)
class SimState:
    """Live views of the simulation: fixed address, float32, refreshed in place by ``step`` and ``reset``.

    Backends may store them component by component (strides (1, N)), where arithmetic on components is fastest.

    =============== ========== =====================================================================
    field           shape      unit, frame
    =============== ========== =====================================================================
    root_pos_w      (N, 3)     m, world
    root_quat_w     (N, 4)     (w, x, y, z), body to world
    root_lin_vel_w  (N, 3)     m/s, world
    root_ang_vel_b  (N, 3)     rad/s, body
    joint_pos       (N, J)     rad
    joint_vel       (N, J)     rad/s
    joint_torque    (N, J)     N·m, of the last physics step
    foot_pos_w      (N, F, 3)  m, world, origins of the frames of ``Robot.feet``
    contact_force_w (N, B, 3)  N, world, net force on each body in the last physics step
    =============== ========== =====================================================================

    Root and joints are of the present state. ``foot_pos_w`` may be, as the forces are, of the start of the last
    physics step; after ``reset`` everything is current in the robots that were reset (``sim="isaacgym"`` says where it
    is not).
    """

    root_pos_w: torch.Tensor
    root_quat_w: torch.Tensor
    root_lin_vel_w: torch.Tensor
    root_ang_vel_b: torch.Tensor
    joint_pos: torch.Tensor
    joint_vel: torch.Tensor
    joint_torque: torch.Tensor
    foot_pos_w: torch.Tensor
    contact_force_w: torch.Tensor


class Simulator(Protocol):
    """N robots in N separate worlds. Methods take masks (N,) bool, never lists of ids."""

    num_envs: int
    device: torch.device
    robot: Robot
    control_dt: float
    """Seconds of one ``step``."""
    substeps: int
    """Physics steps in a control step."""
    body_names: Tuple[str, ...]
    """The B bodies of ``SimState``, in order."""
    state: SimState
    diverged: torch.Tensor
    """(N,) bool: robots whose physics diverged in the last step; only ``reset`` brings them back."""
    friction: torch.Tensor
    """(N,) sliding friction between ground and feet, as the physics uses it."""
    joint_range: torch.Tensor
    """(J, 2) rad, lowest and highest angle of each joint; infinite where it has no limits."""
    physics_s: float
    """Seconds spent in physics since construction."""
    weight_n: float
    """Weight of one robot, N."""
    recorder: Optional[Recorder]
    """Records steps of a task on this simulator, on a GPU; None where that cannot be done."""

    def step(self, targets: torch.Tensor) -> None:
        """One control step towards joint targets (N, J) rad, N·m where the robot has torque drives, or (substeps, N, J)
        with one for each physics step."""

    def reset(self, mask: torch.Tensor, root_pos_w: torch.Tensor, root_quat_w: torch.Tensor,
              root_lin_vel_w: torch.Tensor, root_ang_vel_b: torch.Tensor,
              joint_pos: torch.Tensor, joint_vel: torch.Tensor) -> None:
        """Put the robots of `mask` (N,) bool into these states; all rows are given, only masked ones are read."""

    def push(self, lin_vel_w: torch.Tensor, ang_vel_b: torch.Tensor, mask: torch.Tensor) -> None:
        """Add lin_vel_w (N, 3) m/s, world, and ang_vel_b (N, 3) rad/s, body, to the roots of the robots of `mask`, as a
        blow would; rows that are not masked are not read."""

    def set_param(self, name: str, values: torch.Tensor, mask: Optional[torch.Tensor] = None) -> None:
        """Give the robots of `mask` (N,) bool (None: all) a parameter of their own; rows not masked are not read.

        :param name: one of :data:`~sb3_isaac.sim.params.PARAMS`, which says units and shapes.
        :raises UserError: for a name that this simulator cannot set, with those that it can."""

    def get_param(self, name: str) -> torch.Tensor:
        """The present values of a parameter, as ``set_param`` takes them, (N,), (N, J) or (N, 3); a copy."""

    def warnings(self) -> Dict[str, int]:
        """How often each warning of the physics that ends no episode came since the last call, over all robots."""

    def make_renderer(self, width: int, height: int, **options: Any) -> Any:
        """Draws the scene offscreen: ``frame(lines, follow) -> (height, width, 3) uint8`` and ``close()``; for
        `options` see :class:`~sb3_isaac.engine.renderer.SceneRenderer`."""

    def make_viewer(self) -> Any:
        """A window on one robot after the other (``is_running() pressed() sync(lines, robot) close()``), see
        :meth:`TensorEnv.viewer`; None where there is none."""

    def make_shapes(self) -> Optional[Any]:
        """The robots as triangles: ``meshes snapshot poses level`` of :class:`~sb3_isaac.contract.stage.Stage`; None
        where there are none."""

    def state_dict(self) -> Dict[str, Any]:
        """All that an identical continuation needs."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state_dict()``."""

    def close(self) -> None:
        """Release worlds and threads."""


def make_simulator(sim: str, robot: Robot, num_envs: int, *, device: Union[str, torch.device] = "auto",
                   physics_dt: float = 0.01, substeps: int = 2, threads: Optional[int] = None,
                   ground: Optional[Heightfield] = None, nconmax: Optional[int] = None,
                   njmax: Optional[int] = None, cuda_graphs: bool = True) -> Simulator:
    """N robots on the simulator `sim`.

    :param sim: ``mujoco`` is MuJoCo on the CPU's cores, ``mujoco_warp`` MuJoCo Warp on a GPU; ``isaacgym`` is NVIDIA's
        where that is installed, and its emulation elsewhere; ``auto`` is ``isaacgym`` if NVIDIA's was imported already,
        else ``mujoco``, whether the emulation was used or not.
    :param device: of the simulation's tensors; ``auto`` is the CPU, and the GPU for NVIDIA's Isaac Gym and, where there
        is one, for ``mujoco_warp``.
    :param physics_dt: seconds of a physics step; a control step takes ``substeps`` of them.
    :param threads: physics threads on the CPU, by default one for each available core; ``mujoco_warp`` has none.
    :param ground: what the robots stand on, a heightfield on ``mujoco`` and planes that move along below the robots on
        ``mujoco_warp`` (:mod:`~sb3_isaac.engine.ground_planes`); None is a plane.
    :param nconmax, njmax: room for contacts and constraint rows of each robot on ``mujoco_warp``, which the others do
        not need; by default what a short trial shows to be enough.
    :param cuda_graphs: on a GPU by ``mujoco_warp``, record a step of the task and repeat it, which is several times as
        fast as to tell each part of it to the GPU anew.
    """
    if number_above_zero("physics_dt", physics_dt) > MOST_PHYSICS_DT:
        raise UserError(f"physics_dt is {physics_dt} s: give at most {MOST_PHYSICS_DT}, or legs are unstable.")
    if physics_dt < LEAST_PHYSICS_DT:
        raise UserError(f"physics_dt is {physics_dt} s: give at least {LEAST_PHYSICS_DT}.")
    substeps = whole_number("substeps", substeps, most=1000)
    if threads is not None:
        threads = whole_number("threads", threads, most=4096)
    if sim not in SIMULATORS:
        raise unknown("sim", sim, SIMULATORS)
    if sim == "auto":
        sim = "isaacgym" if nvidia_is_imported() else "mujoco"
    if ground is not None and sim == "isaacgym":
        raise UserError("terrain is not available on sim='isaacgym', which has a plane alone: use sim='mujoco', or "
                        "sim='mujoco_warp' on a GPU.")
    if sim == "isaacgym":
        install("auto", threads=threads)
        module = importlib.import_module("sb3_isaac.sim.isaacgym")
        return module.IsaacGymSimulator(robot, num_envs, device=str(device), physics_dt=physics_dt, substeps=substeps,
                                        threads=threads)
    if sim == "mujoco" and str(device) not in ("auto", "cpu"):
        raise UserError(f"device {str(device)!r} is not where sim='mujoco' runs: use device='cpu' or 'auto' for it, or "
                        "sim='mujoco_warp'; the learner's device is the algorithm's own argument.")
    if sys.version_info < (3, 11) or importlib.util.find_spec("mujoco") is None:
        raise UserError(f"sim={sim!r} needs Python 3.11 or newer and MuJoCo 4 (pip install 'mujoco>=4,<5'): "
                        f"this is Python {sys.version_info[0]}.{sys.version_info[1]}"
                        f"{'' if importlib.util.find_spec('mujoco') else ' without mujoco'}.")
    options: Dict[str, Any] = {}
    if sim == "mujoco_warp":
        engine = importlib.import_module("sb3_isaac.engine.warp").WarpEngine
        options["engine"] = functools.partial(engine, device=str(device), nconmax=nconmax, njmax=njmax,
                                              ground=ground, cuda_graphs=truth("cuda_graphs", cuda_graphs))
        options["planes"] = ground is not None
    module = importlib.import_module("sb3_isaac.sim.mujoco")
    return module.MujocoSimulator(robot, num_envs, physics_dt=physics_dt, substeps=substeps, threads=threads,
                                  ground=ground, **options)
