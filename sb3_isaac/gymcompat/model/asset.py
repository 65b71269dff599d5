"""One robot or object: its specification, its names in order, and the properties that it starts with."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List, Optional, Sequence

import mujoco
import numpy as np

from sb3_isaac.contract.errors import UserError
from sb3_isaac.gymcompat.model.mjcf import mjcf_spec, take_actuators
from sb3_isaac.gymcompat.model.urdf import Joint
from sb3_isaac.gymcompat.model.urdf_spec import urdf_spec
from sb3_isaac.gymcompat.types.enums import DofDriveMode
from sb3_isaac.gymcompat.types.structs import ActuatorProperties, AssetOptions, IndexRange, RigidShapeProperties
from sb3_isaac.gymcompat.types.values import DOF_PROPERTIES

UNLIMITED = 1e9
"""Position rad or m, velocity or effort limit of a joint that has none."""


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
    actuators           list              of an MJCF file
    =================== ================= =======================================================================
    """

    def __init__(self, name: str, spec: mujoco.MjSpec, options: AssetOptions,
                 urdf_joints: Optional[Dict[str, Joint]] = None,
                 actuators: Sequence[ActuatorProperties] = ()) -> None:
        self.name, self.spec, self.options, self.actuators = name, spec, options, list(actuators)
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
        self._read_bodies(model)
        self._read_shapes(model)

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
        spec, joints = urdf_spec(path, Path(root), options)
        return Asset(path.stem, spec, options, urdf_joints=joints)
    if path.suffix.lower() in (".xml", ".mjcf"):
        spec = mjcf_spec(path, options)
        actuators = take_actuators(spec)
        return Asset(path.stem, spec, options, actuators=actuators)
    raise UserError(f"load_asset: file {filename!r} has the extension {path.suffix!r}: allowed are .urdf and .xml.")


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
