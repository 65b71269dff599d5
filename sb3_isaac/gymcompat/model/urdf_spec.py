"""A tree of links as a MuJoCo specification."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List, Optional, Tuple

import mujoco
import numpy as np

from sb3_isaac.contract.errors import UserError
from sb3_isaac.gymcompat.model.urdf import Inertial, Joint, Link, Shape, collapsed, read_urdf, with_missing_inertia
from sb3_isaac.gymcompat.types.structs import AssetOptions

_LEAST_MASS_KG, _LEAST_INERTIA = 1e-4, 1e-7
"""What a moving link gets that has neither mass nor shapes: MuJoCo wants some, and this one moves nothing else."""


def urdf_spec(path: Path, root: Path, options: AssetOptions) -> Tuple[mujoco.MjSpec, Dict[str, Joint], List[str]]:
    """The file's robot, its moving joints by name, and the names of all joints in the order of the links.

    :param root: the asset root that ``load_asset`` was given, searched for meshes after the file's own folder.
    """
    tree = with_missing_inertia(read_urdf(path), options.density)
    if options.collapse_fixed_joints:
        tree = collapsed(tree)
    spec = mujoco.MjSpec()
    spec.compiler.degree = False
    spec.compiler.balanceinertia = True  # files with an inertia that no body can have are common
    builder = _Builder(spec, path, root, options)
    body = builder.add(spec.worldbody, tree, np.eye(4))
    if not options.fix_base_link:
        body.add_freejoint(name=f"{tree.name}_free")
    return spec, builder.joints, builder.names


class _Builder:
    """Adds links to a specification, depth first."""

    def __init__(self, spec: mujoco.MjSpec, path: Path, root: Path, options: AssetOptions) -> None:
        self.spec, self.path, self.root, self.options = spec, path, root, options
        self.joints: Dict[str, Joint] = {}
        self.names: List[str] = []
        self._meshes: Dict[Tuple[str, Tuple[float, ...]], str] = {}

    def add(self, parent: mujoco.MjsBody, link: Link, pose: np.ndarray) -> mujoco.MjsBody:
        """Add `link` to `parent` at the homogeneous `pose` (4, 4) in its frame; the new body."""
        body = parent.add_body(name=link.name, pos=pose[:3, 3], quat=quat_wxyz(pose))
        inertial = link.inertial
        if inertial is not None or not link.shapes:
            self._set_inertia(body, inertial)
        for shape in link.shapes:
            self._add_shape(body, shape, link)
        for joint in link.joints:
            self.names.append(joint.name)
            self._add_joint(self.add(body, joint.child, joint.pose), joint)
        return body

    def _set_inertia(self, body: mujoco.MjsBody, inertial: Optional[Inertial]) -> None:
        mass, com, inertia = ((inertial.mass, inertial.com, inertial.inertia) if inertial is not None
                              else (0.0, np.zeros(3), np.zeros((3, 3))))
        inertia = inertia + np.eye(3) * (0.0 if self.options.use_physx_armature else self.options.armature)
        values, quat = principal_axes(inertia)
        body.explicitinertial = True
        body.mass = max(mass, _LEAST_MASS_KG if inertial is None else 1e-9)
        body.ipos, body.iquat = com, quat
        body.inertia = np.maximum(values, _LEAST_INERTIA if inertial is None else 1e-12)

    def _add_joint(self, body: mujoco.MjsBody, joint: Joint) -> None:
        if joint.kind == "fixed":
            return
        if joint.kind == "floating":
            raise UserError(f"load_asset: joint {joint.name!r} of {str(self.path)!r} is floating inside the robot: "
                            "only the root can float, so make it the root or give the joint another type.")
        slide = joint.kind == "prismatic"
        made = body.add_joint(
            name=joint.name, type=mujoco.mjtJoint.mjJNT_SLIDE if slide else mujoco.mjtJoint.mjJNT_HINGE,
            axis=joint.axis)
        # A revolute joint that states no range, or an empty one, turns freely.
        if joint.kind != "continuous" and joint.lower < joint.upper:
            made.limited, made.range = mujoco.mjtLimited.mjLIMITED_TRUE, [joint.lower, joint.upper]
        self.joints[joint.name] = joint

    def _add_shape(self, body: mujoco.MjsBody, shape: Shape, link: Link) -> None:
        kinds = mujoco.mjtGeom
        geom = body.add_geom(pos=shape.pose[:3, 3], quat=quat_wxyz(shape.pose), density=self.options.density)
        if shape.kind == "box":
            geom.type, geom.size = kinds.mjGEOM_BOX, [0.5 * v for v in shape.size]
        elif shape.kind == "sphere":
            geom.type, geom.size = kinds.mjGEOM_SPHERE, [shape.size[0], 0, 0]
        elif shape.kind == "mesh":
            geom.type, geom.meshname = kinds.mjGEOM_MESH, self._mesh(shape, link)
        else:
            round_ends = shape.kind == "capsule" or self.options.replace_cylinder_with_capsule
            geom.type = kinds.mjGEOM_CAPSULE if round_ends else kinds.mjGEOM_CYLINDER
            geom.size = [shape.size[0], 0.5 * shape.size[1], 0]

    def _mesh(self, shape: Shape, link: Link) -> str:
        key = (shape.mesh, shape.size)
        if key not in self._meshes:
            file = self._find_mesh(shape.mesh, link)
            self._meshes[key] = name = f"mesh{len(self._meshes)}"
            self.spec.add_mesh(name=name, file=str(file), scale=shape.size,
                               inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_CONVEX)
        return self._meshes[key]

    def _find_mesh(self, filename: str, link: Link) -> Path:
        """Meshes lie relative to the file, to the asset root, or in a ROS package somewhere above."""
        relative = filename.split("://", 1)[1] if "://" in filename else filename
        tails = [relative] + ([relative.split("/", 1)[1]] if "://" in filename and "/" in relative else [])
        folder = self.path.parent.resolve()
        bases = [folder, self.root.resolve(), *folder.parents]
        for base in bases:
            for tail in tails:
                if (base / tail).is_file():
                    file = (base / tail).resolve()
                    if file.suffix.lower() not in (".stl", ".obj", ".msh"):
                        raise UserError(f"load_asset: link {link.name!r} of {str(self.path)!r} collides as mesh "
                                        f"{filename!r}: convert it to STL or OBJ, which MuJoCo reads.")
                    return file
        raise UserError(f"load_asset: mesh {filename!r} of link {link.name!r} in {str(self.path)!r} does not exist in "
                        f"{str(folder)!r}, {str(self.root)!r} or a folder above: put the mesh files where the URDF "
                        "expects them.")


def quat_wxyz(matrix: np.ndarray) -> np.ndarray:
    """The rotation of a 3 × 3 matrix, or of a 4 × 4 pose, as MuJoCo's quaternion."""
    quat = np.zeros(4)
    mujoco.mju_mat2Quat(quat, np.ascontiguousarray(matrix[:3, :3]).ravel())
    return quat


def principal_axes(inertia: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """The principal moments (3,) kg·m² of an inertia (3, 3), and the quaternion (4,) of their right-handed frame."""
    moments, axes = np.linalg.eigh(inertia)
    axes[:, 0] *= np.sign(np.linalg.det(axes))
    return moments, quat_wxyz(axes)
