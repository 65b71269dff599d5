"""The MuJoCo simulator: N robots on any :class:`~sb3_isaac.engine.Engine`, their state in our conventions."""

from __future__ import annotations

import functools
from typing import Any, Callable, Dict, List, Mapping, Optional, Union

import mujoco
import torch

from sb3_isaac.contract.errors import UserError
from sb3_isaac.engine import Engine
from sb3_isaac.engine.cpu import CpuEngine
from sb3_isaac.engine.scene import contact_address, position_address
from sb3_isaac.robots import Robot
from sb3_isaac.sim import SimState
from sb3_isaac.sim.mujoco_params import MujocoParams
from sb3_isaac.sim.scene import compose_scene
from sb3_isaac.terrain.heightfield import Heightfield

EngineFactory = Callable[[mujoco.MjModel, int, Optional[int]], Engine]
"""Makes an engine of a compiled model, the number of worlds and the number of physics threads (None: all cores)."""


def _columns(ids: List[int], device: torch.device) -> Union[slice, torch.Tensor]:
    """An index of these columns: a slice where they are in a row, which is many times faster."""
    in_a_row = ids == list(range(ids[0], ids[0] + len(ids)))
    return slice(ids[0], ids[0] + len(ids)) if in_a_row else torch.tensor(ids, device=device)


class MujocoSimulator:
    """N robots on a MuJoCo engine (see :class:`~sb3_isaac.sim.Simulator`).

    ``foot_pos_w`` is of the same instant as ``contact_force_w``, the start of the last physics step, since both are
    MuJoCo sensors. Positions of the new state would cost a quarter of the physics by ``mjSTAGE_VEL``.

    :param physics_dt: seconds of one physics step.
    :param substeps: physics steps in a control step.
    :param threads: physics threads, by default one for each available core.
    :param engine: makes the engine, by default :class:`~sb3_isaac.engine.cpu.CpuEngine`.
    :param ground: what all robots stand on, each in a world of its own; None is a plane.
    :param planes: `engine` knows the ground, and moves planes along below the robots that stand for it.
    """

    def __init__(self, robot: Robot, num_envs: int, *, physics_dt: float = 0.01, substeps: int = 2,
                 threads: Optional[int] = None, engine: EngineFactory = CpuEngine,
                 ground: Optional[Heightfield] = None, planes: bool = False) -> None:
        if substeps < 1 or physics_dt <= 0:
            raise UserError(f"physics_dt {physics_dt} and substeps {substeps} must be above 0: try 0.01 and 2.")
        self.robot, self.num_envs, self.substeps, self.ground = robot, num_envs, substeps, ground
        self.physics_dt, self.control_dt = physics_dt, physics_dt * substeps
        self.model = compose_scene(robot, physics_dt, ground=ground, planes=planes)
        self.engine = engine(self.model, num_envs, threads)
        self.device, self.diverged = self.engine.device, self.engine.diverged
        self.recorder = getattr(self.engine, "recorder", None)  # one's own Engine need not have it
        self.weight_n = float(-self.model.opt.gravity[2] * self.model.body_subtreemass[0])
        self.body_names = tuple(self.model.body(i).name for i in range(1, self.model.nbody))
        joints = [self.model.joint(name) for name in robot.joints]
        self._qpos_columns = _columns([int(j.qposadr[0]) for j in joints], self.device)
        self._qvel_columns = _columns([int(j.dofadr[0]) for j in joints], self.device)
        ids = [joint.id for joint in joints]
        limited, ends = self.model.jnt_limited[ids].astype(bool), self.model.jnt_range[ids].copy()
        ends[~limited] = (-float("inf"), float("inf"))
        self.joint_range = torch.tensor(ends, dtype=torch.float32, device=self.device)
        self._qpos, self._qvel = self.engine.field("qpos"), self.engine.field("qvel")
        self._next_qpos, self._next_qvel = torch.zeros_like(self._qpos), torch.zeros_like(self._qvel)
        self._no_torque = torch.zeros(num_envs, len(robot.joints), device=self.device)
        self._params = MujocoParams(self.engine, robot)
        self.friction = self._params.friction
        self.state = self._views()
        self._refresh()

    @functools.cached_property
    def visual_model(self) -> mujoco.MjModel:
        """The same scene with all that is only to look at, compiled when it is first wanted."""
        return compose_scene(self.robot, self.physics_dt, visuals=True, ground=self.ground)

    def _views(self) -> SimState:
        sensors = self.engine.field("sensordata")

        def vectors(first: int, count: int) -> torch.Tensor:
            return sensors[:, first:first + 3 * count].unflatten(1, (-1, 3))

        return SimState(
            root_pos_w=self._qpos[:, :3],
            root_quat_w=self._qpos[:, 3:7],
            root_lin_vel_w=self._qvel[:, :3],
            root_ang_vel_b=self._qvel[:, 3:6],  # a free joint's angular velocity is in the body's frame
            joint_pos=self._qpos[:, self._qpos_columns],
            joint_vel=self._qvel[:, self._qvel_columns],
            joint_torque=self.engine.field("actuator_force"),
            foot_pos_w=vectors(position_address(self.model, self.robot.feet[0]), len(self.robot.feet)),
            contact_force_w=vectors(contact_address(self.model, self.body_names[0]), len(self.body_names)),
        )

    def _refresh(self) -> None:
        """Bring up to date what is not a view of an engine field."""
        if not isinstance(self._qpos_columns, slice):
            self.state.joint_pos.copy_(self._qpos[:, self._qpos_columns])
        if not isinstance(self._qvel_columns, slice):
            self.state.joint_vel.copy_(self._qvel[:, self._qvel_columns])

    @property
    def physics_s(self) -> float:
        """See :class:`~sb3_isaac.sim.Simulator`."""
        return self.engine.physics_s

    def step(self, targets: torch.Tensor) -> None:
        """See :meth:`Simulator.step`."""
        shape = (self.num_envs, len(self.robot.joints))
        if tuple(targets.shape) not in (shape, (self.substeps, *shape)):
            raise UserError(f"targets have shape {tuple(targets.shape)}: give {shape}, or {(self.substeps, *shape)} "
                            "with one for each physics step.")
        self.engine.step(targets, self.substeps)
        self._refresh()

    def reset(self, mask: torch.Tensor, root_pos_w: torch.Tensor, root_quat_w: torch.Tensor,
              root_lin_vel_w: torch.Tensor, root_ang_vel_b: torch.Tensor,
              joint_pos: torch.Tensor, joint_vel: torch.Tensor) -> None:
        """See :meth:`Simulator.reset`. Rows that are not masked are copied too, for the engine reads only its own."""
        qpos, qvel = self._next_qpos, self._next_qvel
        qpos[:, :3], qpos[:, 3:7], qpos[:, self._qpos_columns] = root_pos_w, root_quat_w, joint_pos
        qvel[:, :3], qvel[:, 3:6], qvel[:, self._qvel_columns] = root_lin_vel_w, root_ang_vel_b, joint_vel
        self.engine.reset(mask, qpos, qvel, joint_pos if self.robot.drive == "position" else self._no_torque)
        self._refresh()

    def push(self, lin_vel_w: torch.Tensor, ang_vel_b: torch.Tensor, mask: torch.Tensor) -> None:
        """See :meth:`Simulator.push`."""
        qvel = self._next_qvel.copy_(self._qvel)
        qvel[:, :3] += lin_vel_w
        qvel[:, 3:6] += ang_vel_b
        self.engine.write(mask, qvel=qvel)

    def set_param(self, name: str, values: torch.Tensor, mask: Optional[torch.Tensor] = None) -> None:
        """See :meth:`Simulator.set_param`."""
        self._params.set(name, values, mask)

    def get_param(self, name: str) -> torch.Tensor:
        """See :meth:`Simulator.get_param`."""
        return self._params.get(name)

    def warnings(self) -> Dict[str, int]:
        """See :meth:`Simulator.warnings`."""
        return self.engine.warnings()

    def make_renderer(self, width: int, height: int, **options: Any) -> Any:
        """See :meth:`Simulator.make_renderer`. It is imported here because GL is needed by those who look only."""
        from sb3_isaac.engine.renderer import SceneRenderer

        look_height_m = 0.6 * self.robot.base_height_m if self.ground is None else None
        return SceneRenderer(self.engine, self.visual_model, look_height_m, width=width, height=height, **options)

    def make_viewer(self) -> Any:
        """See :meth:`Simulator.make_viewer`."""
        from sb3_isaac.engine.viewer import WorldViewer

        return WorldViewer(self.engine, self.visual_model)

    def make_shapes(self) -> Any:
        """See :meth:`Simulator.make_shapes`."""
        from sb3_isaac.engine.shapes import WorldShapes

        return WorldShapes(self.engine, self.visual_model, level=self.ground is None)

    def state_dict(self) -> Dict[str, Any]:
        """See :meth:`Simulator.state_dict`."""
        return {**self.engine.state_dict(), "params": self._params.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See :meth:`Simulator.load_state_dict`."""
        self.engine.load_state_dict(state)
        self._params.load_state_dict(state["params"])
        self._refresh()

    def close(self) -> None:
        """See :meth:`Simulator.close`."""
        self.engine.close()
