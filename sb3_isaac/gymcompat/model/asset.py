"""One robot or object: its specification, its names in order, and the properties that it starts with."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import mujoco
import numpy as np

from sb3_isaac.contract.errors import UserError
from sb3_isaac.gymcompat.model.mjcf import mjcf_spec, take_actuators
from sb3_isaac.gymcompat.model.urdf import Joint
from sb3_isaac.gymcompat.model.urdf_spec import urdf_spec
from sb3_isaac.gymcompat.types.enums import DofDriveMode
from sb3_isaac.gymcompat.types.structs import (
    ActuatorProperties,
    AssetOptions,
    IndexRange,
    RigidShapeProperties,
    TendonProperties,
)
from sb3_isaac.gymcompat.types.values import DOF_PROPERTIES

UNLIMITED = 1e9
"""Position rad or m, velocity or effort limit of a joint that has none."""


@dataclass(frozen=True)
class ForceSensor:
    """Measures the force N and torque N·m on a body, at `position` m and `quat` (w, x, y, z) in the body's frame.

    ================== ===================================================================
    contacts           count contacts and forces that the program applies
    others             count the rest: gravity, joints, so that the sum is mass · acceleration
    world              give the result along the world's axes, not the sensor's
    ================== ===================================================================
    """

    body: int
    position: Tuple[float, ...]
    quat: Tuple[float, ...]
    contacts: bool = True
    others: bool = True
    world: bool = False

    @property
    def key(self) -> Tuple[Any, ...]:
        """Equal for equal sensors."""
        return (self.body, self.position, self.quat, self.contacts, self.others, self.world)


class Asset:
    """What ``load_asset`` and ``create_box`` return.

    =================== ================= =======================================================================
    attribute           shape             what
    =================== ================= =======================================================================
    body_names          B                 depth first; URDF siblings alphabetical by joint name, MJCF in file order
    dof_names           D                 the joints, in the order of their bodies
    dof_properties      (D,)              ``DOF_PROPERTIES``
    shape_properties    S                 the shapes in the order of their bodies; clients replace them
    shape_ranges        B                 each body's shapes
    mass, com           (B,), (B, 3)      kg; m, in the body's frame
    inertia             (B, 3, 3)         kg·m² about the centre of mass, in the body's frame
    principal           (B, 3)            the same along its principal axes, whose frame is principal_quat (B, 4)
    root_is_free        bool              whether the root floats
    joint_names         list              all joints, fixed ones included: a body's own in the order of the bodies
    actuators           list              of an MJCF file, and the joints that they move (actuator_joints)
    tendons             list              properties of an MJCF file's tendons, and their names (tendon_names)
    sensors             list              force sensors
    key                 tuple             equal for assets that are the same but for their shapes' properties
    =================== ================= =======================================================================
    """

    def __init__(self, name: str, spec: mujoco.MjSpec, options: AssetOptions,
                 urdf_joints: Optional[Dict[str, Joint]] = None, joint_names: Sequence[str] = (),
                 actuators: Sequence[Tuple[str, ActuatorProperties]] = ()) -> None:
        self.name, self.spec, self.options = name, spec, options
        self._urdf_joints = urdf_joints
        self._key: Tuple[Any, ...] = (object(),)
        self.actuator_joints, self.actuators = [a[0] for a in actuators], [a[1] for a in actuators]
        self.sensors: List[ForceSensor] = []
        if options.disable_gravity:
            for body in spec.bodies:
                body.gravcomp = 1.0
        try:
            model = spec.copy().compile()
        except ValueError as error:
            raise UserError(f"load_asset: MuJoCo cannot build {name!r}: {' '.join(str(error).split())}.") from error
        self.body_names = [model.body(i).name for i in range(1, model.nbody)]
        kinds = mujoco.mjtJoint
        free = [j for j in range(model.njnt) if model.jnt_type[j] == kinds.mjJNT_FREE]
        balls = [model.joint(j).name for j in range(model.njnt) if model.jnt_type[j] == kinds.mjJNT_BALL]
        if balls or any(model.jnt_bodyid[j] != 1 for j in free):
            raise UserError(f"load_asset: {name!r} has {'ball joints ' + ', '.join(balls) if balls else 'a free body'} "
                            "inside it: only hinges and slides can follow the root.")
        self.root_is_free = bool(free)
        self._dofs = [j for j in range(model.njnt) if j not in free]
        self.dof_names = [model.joint(j).name for j in self._dofs]
        self.dof_is_slide = [bool(model.jnt_type[j] == kinds.mjJNT_SLIDE) for j in self._dofs]
        self.dof_properties = self._dof_properties(model, urdf_joints)
        self.joint_names = list(joint_names) or _all_joints(model)
        self._read_bodies(model)
        self._read_shapes(model)
        self._read_tendons(model)

    @property
    def key(self) -> Tuple[Any, ...]:
        """See the class."""
        return (*self._key, *(sensor.key for sensor in self.sensors))

    def fresh(self, key: Tuple[Any, ...]) -> "Asset":
        """The asset as it was loaded, without its force sensors and changes, known as `key`."""
        new = copy.copy(self)
        new._key, new.sensors = key, []
        new.shape_properties = [RigidShapeProperties() for _ in self.shape_properties]
        new.tendons = [tendon.copy() for tendon in self.tendons]
        return new

    def scaled(self, scale: float) -> "Asset":
        """The asset at another size: lengths by `scale`, masses by its cube, as for bodies of one material."""
        new = Asset(self.name, _scaled(self.spec, scale), self.options, self._urdf_joints, self.joint_names,
                    list(zip(self.actuator_joints, self.actuators)))
        new._key = (*self._key, scale)
        new.shape_properties, new.tendons = self.shape_properties, self.tendons
        new.sensors = [replace(sensor, position=tuple(scale * v for v in sensor.position)) for sensor in self.sensors]
        return new

    def _dof_properties(self, model: mujoco.MjModel, urdf_joints: Optional[Dict[str, Joint]]) -> np.ndarray:
        props = np.zeros(len(self._dofs), DOF_PROPERTIES)
        props["driveMode"] = DofDriveMode(self.options.default_dof_drive_mode)
        for row, j in zip(props, self._dofs):
            dof = model.jnt_dofadr[j]
            limited = bool(model.jnt_limited[j])
            row["hasLimits"] = limited
            row["lower"], row["upper"] = model.jnt_range[j] if limited else (-UNLIMITED, UNLIMITED)
            row["armature"] = model.dof_armature[dof] + (self.options.armature * self.options.use_physx_armature)
            joint = urdf_joints[model.joint(j).name] if urdf_joints is not None else None
            if joint is not None:
                row["effort"], row["velocity"] = joint.effort, joint.velocity
                row["damping"], row["friction"] = joint.damping, joint.friction
            else:
                row["effort"], row["velocity"] = UNLIMITED, UNLIMITED
                row["stiffness"], row["damping"] = model.jnt_stiffness[j], model.dof_damping[dof]
                row["friction"] = model.dof_frictionloss[dof]
        return props

    def _read_bodies(self, model: mujoco.MjModel) -> None:
        self.mass, self.com = model.body_mass[1:].copy(), model.body_ipos[1:].copy()
        self.principal, self.principal_quat = model.body_inertia[1:].copy(), model.body_iquat[1:].copy()
        self.inertia = np.zeros((len(self.mass), 3, 3))
        for i in range(len(self.mass)):
            flat = np.zeros(9)
            mujoco.mju_quat2Mat(flat, model.body_iquat[i + 1])
            axes = flat.reshape(3, 3)
            self.inertia[i] = axes @ np.diag(model.body_inertia[i + 1]) @ axes.T

    def _read_shapes(self, model: mujoco.MjModel) -> None:
        """Only geoms that can collide are shapes; visual geoms are not."""
        collides = (model.geom_contype | model.geom_conaffinity) != 0
        self.shapes_of_body = [[g for g in range(model.ngeom) if model.geom_bodyid[g] == b and collides[g]]
                               for b in range(1, model.nbody)]
        self.shape_ranges: List[IndexRange] = []
        for shapes in self.shapes_of_body:
            made = IndexRange()
            made.start, made.count = sum(r.count for r in self.shape_ranges), len(shapes)
            self.shape_ranges.append(made)
        self.shape_properties = [RigidShapeProperties() for shapes in self.shapes_of_body for _ in shapes]

    def _read_tendons(self, model: mujoco.MjModel) -> None:
        self.tendon_names = [model.tendon(i).name for i in range(model.ntendon)]
        self.tendons: List[TendonProperties] = []
        for i in range(model.ntendon):
            made = TendonProperties()
            made.stiffness, made.damping = model.tendon_stiffness[i], model.tendon_damping[i]
            made.is_fixed_limited = bool(model.tendon_limited[i])
            made.fixed_lower_limit, made.fixed_upper_limit = model.tendon_range[i]
            made.fixed_spring_rest_length = model.tendon_lengthspring[i, 0]
            made.limit_stiffness = self.options.tendon_limit_stiffness
            made.num_joints = int(model.tendon_num[i])
            self.tendons.append(made)

    def start_dofs(self) -> np.ndarray:
        """(D,) positions at the start: 0, or the nearest that a joint can have."""
        return np.clip(0.0, self.dof_properties["lower"], self.dof_properties["upper"])

    def body_poses(self) -> np.ndarray:
        """(B, 7) positions m and quaternions (x, y, z, w) at the start, in the root's frame."""
        model = self.spec.copy().compile()
        data = mujoco.MjData(model)
        if self.root_is_free:
            data.qpos[:7] = 0, 0, 0, 1, 0, 0, 0
        data.qpos[model.jnt_qposadr[self._dofs]] = self.start_dofs()
        model.body_pos[1], model.body_quat[1] = 0.0, (1, 0, 0, 0)
        mujoco.mj_kinematics(model, data)
        return np.concatenate([data.xpos[1:], data.xquat[1:, [1, 2, 3, 0]]], axis=1)

    @property
    def num_bodies(self) -> int:
        """B."""
        return len(self.body_names)

    @property
    def num_dofs(self) -> int:
        """D."""
        return len(self.dof_names)

    @property
    def num_shapes(self) -> int:
        """S."""
        return len(self.shape_properties)


def load_asset(root: str, filename: str, options: AssetOptions) -> Asset:
    """Read a URDF or MJCF file, told apart by its extension."""
    path = Path(root) / filename
    if not path.is_file():
        raise UserError(f"load_asset: asset root {root!r} has no file {filename!r}: give the folder and the URDF or "
                        "MJCF file in it.")
    if path.suffix.lower() == ".urdf":
        spec, joints, names = urdf_spec(path, Path(root), options)
        return Asset(path.stem, spec, options, joints, names)
    if path.suffix.lower() in (".xml", ".mjcf"):
        spec = mjcf_spec(path, options)
        actuators = take_actuators(spec)
        return Asset(path.stem, spec, options, actuators=actuators)
    raise UserError(f"load_asset: file {filename!r} has the extension {path.suffix!r}: allowed are .urdf and .xml.")


def _all_joints(model: mujoco.MjModel) -> List[str]:
    """Every body's joints but a free one, and a name for the weld of a body that has none."""
    names: List[str] = []
    for body in range(2, model.nbody):
        first, count = model.body_jntadr[body], model.body_jntnum[body]
        names += [model.joint(j).name for j in range(first, first + count)] or [f"{model.body(body).name}_fixed"]
    return names


def _scaled(spec: mujoco.MjSpec, scale: float) -> mujoco.MjSpec:
    spec = spec.copy()
    for body in spec.bodies[1:]:
        body.pos, body.ipos = scale * body.pos, scale * body.ipos
        body.mass, body.inertia, body.fullinertia = (
            scale**3 * body.mass, scale**5 * body.inertia, scale**5 * body.fullinertia)
    for geom in spec.geoms:
        geom.pos, geom.size, geom.fromto = scale * geom.pos, scale * geom.size, scale * geom.fromto
        geom.mass *= scale**3
    for joint in spec.joints:
        joint.pos = scale * joint.pos
        if joint.type == mujoco.mjtJoint.mjJNT_SLIDE:
            joint.range = scale * joint.range
    for mesh in spec.meshes:
        mesh.scale = scale * mesh.scale
    return spec


def primitive(kind: str, size: Sequence[float], options: AssetOptions) -> Asset:
    """A body of one shape: box (half edges), sphere (radius) or capsule (radius, half length, along x)."""
    spec = mujoco.MjSpec()
    body = spec.worldbody.add_body(name=kind)
    geom = body.add_geom(type=getattr(mujoco.mjtGeom, f"mjGEOM_{kind.upper()}"), density=options.density,
                         size=[*size, 0, 0][:3])
    if kind == "capsule":
        geom.quat = [0.5**0.5, 0, 0.5**0.5, 0]
    if not options.fix_base_link:
        body.add_freejoint(name=f"{kind}_free")
    return Asset(kind, spec, options)
