"""The MuJoCo simulator: a scene composed round the robot's MJCF, and its state in our conventions."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Union

import mujoco
import torch

from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.rotations import rotate, rotate_inverse
from sb3_isaac.engine.cpu import CpuEngine
from sb3_isaac.robots import Robot
from sb3_isaac.sim import SimState


def compose_scene(robot: Robot, physics_dt: float) -> mujoco.MjModel:
    """The robot on a plane, with position drives on its joints and a contact sensor on each body.

    Actuators follow ``Robot.joints``; each contact sensor reports the net world force on its body. MuJoCo combines
    the friction of two geoms by their maximum: the floor's 0.8 (dry rubber on concrete) is meant to be the larger.
    """
    try:
        spec = mujoco.MjSpec.from_file(robot.mjcf)
    except ValueError as error:
        raise _unreadable(robot, error) from error
    option = spec.option
    option.timestep = physics_dt
    option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    option.cone = mujoco.mjtCone.mjCONE_PYRAMIDAL
    # Sparse Jacobians have a wrong Newton Hessian in MuJoCo 4.0.0; for one robot dense ones are faster anyway.
    option.jacobian = mujoco.mjtJacobian.mjJAC_DENSE
    option.iterations, option.ls_iterations = 10, 20
    bodies = [body for body in spec.bodies if body.name != "world"]
    for actuator in list(spec.actuators):
        spec.delete(actuator)
    _add_drives(spec, robot)
    for body in bodies:
        spec.add_sensor(
            name=f"contact_{body.name}", type=mujoco.mjtSensor.mjSENS_CONTACT,
            # What the XML's data="force" reduce="netforce" num="1" compiles to.
            intprm=[1 << int(mujoco.mjtConDataField.mjCONDATA_FORCE), 3, 1],
            # As the second object, so that the force is the one on this body.
            reftype=mujoco.mjtObj.mjOBJ_BODY, refname=body.name,
        )
    _add_surroundings(spec)
    try:
        model = spec.compile()
    except ValueError as error:
        raise _unreadable(robot, error) from error
    _check(model, robot)
    # Of the compiled joints, for only these are in radians whatever the file's unit.
    joints = model.actuator_trnid[:, 0]
    model.actuator_ctrllimited[:], model.actuator_ctrlrange[:] = model.jnt_limited[joints], model.jnt_range[joints]
    return model


def _unreadable(robot: Robot, error: ValueError) -> UserError:
    return UserError(f"robot {robot.name!r} has mjcf={robot.mjcf!r}: give a file that MuJoCo can load, which says "
                     f"{' '.join(str(error).split())!r}.")


def _add_drives(spec: mujoco.MjSpec, robot: Robot) -> None:
    """PD drives τ = kp (target − q) − kd q̇, limited to the joint's torque; targets are limited to its range."""
    for name, limit in zip(robot.joints, robot.torque_limit_nm):
        joint = spec.joint(name)
        if joint is None:
            raise UserError(f"robot {robot.name!r} names joint {name!r}, which {robot.mjcf} does not have: "
                            f"it has {', '.join(j.name for j in spec.joints if j.name)}.")
        drive = spec.add_actuator(name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        drive.set_to_position(kp=robot.kp, kv=robot.kd)
        drive.forcelimited, drive.forcerange = mujoco.mjtLimited.mjLIMITED_TRUE, [-limit, limit]


def _add_surroundings(spec: mujoco.MjSpec) -> None:
    """Floor, light and sky. The floor meets the robot's geoms, which do not meet each other."""
    spec.add_texture(name="sky", type=mujoco.mjtTexture.mjTEXTURE_SKYBOX, builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
                     rgb1=[0.36, 0.55, 0.78], rgb2=[0.90, 0.93, 0.96], width=256, height=1536)
    spec.add_texture(name="floor", type=mujoco.mjtTexture.mjTEXTURE_2D, builtin=mujoco.mjtBuiltin.mjBUILTIN_CHECKER,
                     rgb1=[0.36, 0.40, 0.45], rgb2=[0.41, 0.45, 0.50], width=512, height=512,
                     mark=mujoco.mjtMark.mjMARK_EDGE, markrgb=[0.58, 0.62, 0.67])
    material = spec.add_material(name="floor", texrepeat=[1, 1], texuniform=True, specular=0.1)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "floor"
    spec.worldbody.add_geom(name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0, 0, 1], material="floor",
                            friction=[0.8, 0.005, 0.0001], contype=1, conaffinity=0)
    # Its shadows reach only so far from its position, which therefore goes along with the robot.
    spec.worldbody.add_light(pos=[0.6, -1.2, 4], dir=[-0.15, 0.3, -1], mode=mujoco.mjtCamLight.mjCAMLIGHT_TRACKCOM,
                             type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, castshadow=True,
                             diffuse=[0.75, 0.73, 0.7], specular=[0.4, 0.4, 0.4])
    spec.visual.headlight.ambient[:] = [0.35, 0.36, 0.38]
    spec.visual.headlight.diffuse[:] = [0.3, 0.3, 0.3]
    spec.visual.rgba.haze[:] = [0.86, 0.90, 0.94, 1]
    spec.visual.map.shadowclip = 5.0
    # Fine enough to look round; MuJoCo's defaults take twice as long without a graphics card.
    spec.visual.quality.shadowsize, spec.visual.quality.numslices, spec.visual.quality.numstacks = 2048, 20, 10


def _check(model: mujoco.MjModel, robot: Robot) -> None:
    names = {model.body(i).name for i in range(model.nbody)}
    for body in (robot.trunk, *robot.feet, *robot.penalised_bodies, *robot.terminal_bodies):
        if body not in names:
            raise UserError(f"robot {robot.name!r} names body {body!r}, which {robot.mjcf} does not have: "
                            f"it has {', '.join(sorted(names - {'world'}))}.")
    on_trunk = model.jnt_bodyid[0] == model.body(robot.trunk).id
    if model.jnt_type[0] != mujoco.mjtJoint.mjJNT_FREE or not on_trunk or model.nq != 7 + len(robot.joints):
        raise UserError(f"{robot.mjcf} must hold one free joint on the trunk and the {len(robot.joints)} joints that "
                        f"robot {robot.name!r} names: it has {model.njnt} joints.")


def _columns(ids: List[int]) -> Union[slice, torch.Tensor]:
    """An index of these columns: a slice where they are in a row, which is many times faster."""
    in_a_row = ids == list(range(ids[0], ids[0] + len(ids)))
    return slice(ids[0], ids[0] + len(ids)) if in_a_row else torch.tensor(ids)


class MujocoSimulator:
    """N robots on a :class:`~sb3_isaac.engine.cpu.CpuEngine` (see :class:`~sb3_isaac.sim.Simulator`).

    :param physics_dt: seconds of one physics step.
    :param substeps: physics steps in a control step.
    :param threads: physics threads, by default one for each available core.
    """

    def __init__(self, robot: Robot, num_envs: int, *, physics_dt: float = 0.01, substeps: int = 2,
                 threads: Optional[int] = None) -> None:
        if substeps < 1 or physics_dt <= 0:
            raise UserError(f"physics_dt {physics_dt} and substeps {substeps} must be above 0: try 0.01 and 2.")
        self.robot, self.num_envs, self.substeps = robot, num_envs, substeps
        self.control_dt = physics_dt * substeps
        self.model = compose_scene(robot, physics_dt)
        self.engine = CpuEngine(self.model, num_envs, threads)
        self.device, self.diverged = self.engine.device, self.engine.diverged
        self.weight_n = float(-self.model.opt.gravity[2] * self.model.body_subtreemass[0])
        self.friction = torch.full((num_envs,), float(self.model.geom("floor").friction[0]))
        self.body_names = tuple(self.model.body(i).name for i in range(1, self.model.nbody))
        joints = [self.model.joint(name) for name in robot.joints]
        self._qpos_columns = _columns([int(j.qposadr[0]) for j in joints])
        self._qvel_columns = _columns([int(j.dofadr[0]) for j in joints])
        self._qpos, self._qvel = self.engine.field("qpos"), self.engine.field("qvel")
        self._start_qpos, self._start_qvel = torch.zeros_like(self._qpos), torch.zeros_like(self._qvel)
        self.state = self._views()
        self._refresh()

    def _views(self) -> SimState:
        first = int(self.model.sensor(f"contact_{self.body_names[0]}").adr[0])
        forces = self.engine.field("sensordata")[:, first:first + 3 * len(self.body_names)]
        joint_pos, joint_vel = (field[:, columns] for field, columns in (
            (self._qpos, self._qpos_columns), (self._qvel, self._qvel_columns)))
        return SimState(
            root_pos_w=self._qpos[:, :3],
            root_quat_w=self._qpos[:, 3:7],
            root_lin_vel_w=self._qvel[:, :3],
            root_ang_vel_w=torch.zeros(3, self.num_envs).t(),
            joint_pos=joint_pos,
            joint_vel=joint_vel,
            joint_torque=self.engine.field("actuator_force"),
            body_pos_w=self.engine.field("xpos")[:, 1:],
            contact_force_w=forces.unflatten(1, (-1, 3)),
        )

    def _refresh(self, ids: Union[slice, torch.Tensor] = slice(None)) -> None:
        """Bring up to date what is not a view of an engine field. A free joint's angular velocity is the body's."""
        qpos, qvel = self._qpos[ids], self._qvel[ids]
        self.state.root_ang_vel_w[ids] = rotate(qpos[:, 3:7], qvel[:, 3:6])
        if not isinstance(self._qpos_columns, slice):
            self.state.joint_pos[ids] = qpos[:, self._qpos_columns]
        if not isinstance(self._qvel_columns, slice):
            self.state.joint_vel[ids] = qvel[:, self._qvel_columns]

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
        if targets.dim() == 2:
            self.engine.step(targets, self.substeps)
        else:
            bad = torch.zeros_like(self.diverged)
            for target in targets:
                self.engine.step(target, 1)
                bad |= self.diverged
            self.diverged.copy_(bad)
        self._refresh()

    def reset(self, mask: torch.Tensor, root_pos_w: torch.Tensor, root_quat_w: torch.Tensor,
              root_lin_vel_w: torch.Tensor, root_ang_vel_w: torch.Tensor,
              joint_pos: torch.Tensor, joint_vel: torch.Tensor) -> None:
        """See :meth:`Simulator.reset`."""
        ids = self.engine.ids(mask)
        qpos, qvel, quat = self._start_qpos, self._start_qvel, root_quat_w[ids]
        rows = torch.zeros(len(ids), qpos.shape[1])
        rows[:, :3], rows[:, 3:7], rows[:, self._qpos_columns] = root_pos_w[ids], quat, joint_pos[ids]
        qpos[ids] = rows
        rows = torch.zeros(len(ids), qvel.shape[1])
        rows[:, :3], rows[:, 3:6] = root_lin_vel_w[ids], rotate_inverse(quat, root_ang_vel_w[ids])
        rows[:, self._qvel_columns] = joint_vel[ids]
        qvel[ids] = rows
        self.engine.reset(mask, qpos, qvel, joint_pos)
        self._refresh(ids)

    def camera(self, name: str, width: int, height: int) -> torch.Tensor:
        """See :meth:`Simulator.camera`."""
        raise NotImplementedError("cameras as observations are not available on sim='mujoco' yet; "
                                  "render() and 'sb3-isaac play' draw pictures of the scene.")

    def make_renderer(self, width: int, height: int) -> Any:
        """See :meth:`Simulator.make_renderer`. It is imported here because GL is needed by those who look only."""
        from sb3_isaac.engine.renderer import SceneRenderer

        return SceneRenderer(self, width=width, height=height)

    def state_dict(self) -> Dict[str, Any]:
        """See :meth:`Simulator.state_dict`."""
        return self.engine.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See :meth:`Simulator.load_state_dict`."""
        self.engine.load_state_dict(state)
        self._refresh()

    def close(self) -> None:
        """See :meth:`Simulator.close`."""
        self.engine.close()
