"""A URDF file as a tree of links in Isaac Gym's order, its fixed joints collapsed if asked. No simulator is involved.

Order: depth first, siblings alphabetical by joint name. Poses are 4 × 4 matrices from child to parent; lengths in m.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np

from sb3_isaac.contract.errors import UserError

JOINT_KINDS = ("revolute", "continuous", "prismatic", "fixed", "floating")


@dataclass(frozen=True)
class Inertial:
    """Mass kg, centre of mass (3,) m and inertia (3, 3) kg·m² about it, in the link's frame."""

    mass: float
    com: np.ndarray
    inertia: np.ndarray

    def moved(self, pose: np.ndarray) -> "Inertial":
        """The same body seen from the frame in which its own has `pose`."""
        rot = pose[:3, :3]
        return Inertial(self.mass, rot @ self.com + pose[:3, 3], rot @ self.inertia @ rot.T)

    def plus(self, other: "Inertial") -> "Inertial":
        """Both bodies as one (parallel axis theorem)."""
        mass = self.mass + other.mass
        com = (self.mass * self.com + other.mass * other.com) / mass
        inertia = np.zeros((3, 3))
        for part in (self, other):
            d = part.com - com
            inertia += part.inertia + part.mass * (d @ d * np.eye(3) - np.outer(d, d))
        return Inertial(mass, com, inertia)


@dataclass(frozen=True)
class Shape:
    """A collision shape. `size`: box full edges, sphere (r,), cylinder (r, length), mesh its scale (3,)."""

    kind: str
    size: Tuple[float, ...]
    pose: np.ndarray
    mesh: str = ""


@dataclass
class Link:
    """A link with the joints below it."""

    name: str
    inertial: Optional[Inertial] = None
    shapes: List[Shape] = field(default_factory=list)
    joints: List["Joint"] = field(default_factory=list)


@dataclass
class Joint:
    """A joint and the link that it carries. Limits in rad or m, effort in N·m or N."""

    name: str
    kind: str
    pose: np.ndarray
    axis: np.ndarray
    child: Link
    keep: bool
    lower: float
    upper: float
    effort: float
    velocity: float
    damping: float
    friction: float


def sibling_order(joint: Joint) -> str:
    """What the joints below one link are sorted by."""
    return joint.name


def read_urdf(path: Path) -> Link:
    """The root link of the file, siblings in order.

    :raises UserError: if the file is no URDF with exactly one root, or has a joint of a kind that is not known here.
    """
    try:
        robot = ET.parse(str(path)).getroot()
    except (OSError, ET.ParseError) as error:
        raise UserError(f"load_asset: file {str(path)!r} cannot be read as URDF ({error}): "
                        "give the path of a URDF or MJCF file.") from error
    links = {e.get("name", ""): _link(e, path) for e in robot.findall("link")}
    children = set()
    for element in robot.findall("joint"):
        parent, child = (_named(element, role, links, path) for role in ("parent", "child"))
        links[parent].joints.append(_joint(element, links[child], path))
        children.add(child)
    roots = [name for name in links if name not in children]
    if len(roots) != 1:
        raise UserError(f"load_asset: {str(path)!r} has {len(roots)} root links ({', '.join(roots) or 'none'}): "
                        "give a URDF whose joints connect all links into one tree.")
    for link in links.values():
        link.joints.sort(key=sibling_order)
    return links[roots[0]]


def collapsed(link: Link) -> Link:
    """The tree with every fixed joint's child merged into its parent, those marked ``dont_collapse`` excepted."""
    joints: List[Joint] = []
    merged = replace(link, shapes=list(link.shapes), joints=joints)
    for joint in link.joints:
        child = collapsed(joint.child)
        if joint.kind != "fixed" or joint.keep:
            joints.append(replace(joint, child=child))
            continue
        merged.shapes += [replace(shape, pose=joint.pose @ shape.pose) for shape in child.shapes]
        if child.inertial is not None:
            moved = child.inertial.moved(joint.pose)
            merged.inertial = moved if merged.inertial is None else merged.inertial.plus(moved)
        joints += [replace(below, pose=joint.pose @ below.pose) for below in child.joints]
    joints.sort(key=sibling_order)
    return merged


def with_missing_inertia(link: Link, density: float) -> Link:
    """The tree with the inertia of each link that states none, from its primitive shapes of `density` kg/m³."""
    inertial = link.inertial
    if inertial is None:
        for shape in link.shapes:
            if shape.kind != "mesh":
                part = _solid(shape, density)
                inertial = part if inertial is None else inertial.plus(part)
    joints = [replace(j, child=with_missing_inertia(j.child, density)) for j in link.joints]
    return replace(link, inertial=inertial, joints=joints)


def walk(link: Link) -> Iterator[Link]:
    """All links, depth first."""
    yield link
    for joint in link.joints:
        yield from walk(joint.child)


def numbers(text: Optional[str], default: Sequence[float]) -> np.ndarray:
    """The numbers of an attribute."""
    return np.array([float(v) for v in text.split()] if text else default, dtype=float)


def pose_of(element: Optional[ET.Element]) -> np.ndarray:
    """The 4 × 4 matrix of an ``<origin xyz rpy>``."""
    xyz = numbers(element.get("xyz") if element is not None else None, (0, 0, 0))
    rpy = numbers(element.get("rpy") if element is not None else None, (0, 0, 0))
    (cr, cp, cy), (sr, sp, sy) = np.cos(rpy), np.sin(rpy)
    pose = np.eye(4)
    pose[:3, :3] = [[cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
                    [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
                    [-sp, cp * sr, cp * cr]]
    pose[:3, 3] = xyz
    return pose


def _named(joint: ET.Element, role: str, links: Dict[str, Link], path: Path) -> str:
    element = joint.find(role)
    name = element.get("link", "") if element is not None else ""
    if name not in links:
        raise UserError(f"load_asset: joint {joint.get('name')!r} of {str(path)!r} has {role} link {name!r}, which the "
                        f"file does not define: it defines {', '.join(sorted(links))}.")
    return name


def _link(element: ET.Element, path: Path) -> Link:
    shapes = [_shape(e, str(element.get("name")), path) for e in element.findall("collision")]
    return Link(element.get("name", ""), _inertial(element.find("inertial")), shapes)


def _inertial(element: Optional[ET.Element]) -> Optional[Inertial]:
    if element is None:
        return None
    mass_element, tensor = element.find("mass"), element.find("inertia")
    mass = float(mass_element.get("value", 0)) if mass_element is not None else 0.0
    if mass <= 0:
        return None
    get = (lambda key: float(tensor.get(key, 0))) if tensor is not None else (lambda key: 0.0)
    xx, yy, zz, xy, xz, yz = (get(key) for key in ("ixx", "iyy", "izz", "ixy", "ixz", "iyz"))
    inertia = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    return Inertial(mass, np.zeros(3), inertia).moved(pose_of(element.find("origin")))


def _shape(element: ET.Element, link: str, path: Path) -> Shape:
    geometry = element.find("geometry")
    pose = pose_of(element.find("origin"))
    for shape in geometry if geometry is not None else ():
        if shape.tag == "box":
            return Shape("box", tuple(numbers(shape.get("size"), (1, 1, 1))), pose)
        if shape.tag == "sphere":
            return Shape("sphere", (float(shape.get("radius", 1)),), pose)
        if shape.tag in ("cylinder", "capsule"):
            return Shape(shape.tag, (float(shape.get("radius", 1)), float(shape.get("length", 1))), pose)
        if shape.tag == "mesh":
            return Shape("mesh", tuple(numbers(shape.get("scale"), (1, 1, 1))), pose, shape.get("filename", ""))
    raise UserError(f"load_asset: a collision element of link {link!r} in {str(path)!r} has no geometry that is known "
                    "here: give box, sphere, cylinder, capsule or mesh.")


def _joint(element: ET.Element, child: Link, path: Path) -> Joint:
    kind, name = element.get("type", ""), element.get("name", "")
    if kind not in JOINT_KINDS:
        raise UserError(f"load_asset: joint {name!r} of {str(path)!r} has type {kind!r}: "
                        f"allowed are {', '.join(JOINT_KINDS)}.")
    axis = element.find("axis")
    limit, dynamics = element.find("limit"), element.find("dynamics")
    lim = limit.attrib if limit is not None else {}
    dyn = dynamics.attrib if dynamics is not None else {}
    return Joint(
        name=name, kind=kind, child=child, pose=pose_of(element.find("origin")),
        axis=numbers(axis.get("xyz") if axis is not None else None, (1, 0, 0)),
        keep=element.get("dont_collapse", "false").lower() == "true",
        lower=float(lim.get("lower", 0)), upper=float(lim.get("upper", 0)), effort=float(lim.get("effort", 0)),
        velocity=float(lim.get("velocity", 0)), damping=float(dyn.get("damping", 0)),
        friction=float(dyn.get("friction", 0)),
    )


def _solid(shape: Shape, density: float) -> Inertial:
    """A primitive of uniform density."""
    if shape.kind == "box":
        squares = np.square(shape.size)
        mass = density * float(np.prod(shape.size))
        diagonal = mass / 12.0 * (squares.sum() - squares)
    elif shape.kind == "sphere":
        mass = density * 4.0 / 3.0 * math.pi * shape.size[0] ** 3
        diagonal = np.full(3, 0.4 * mass * shape.size[0] ** 2)
    else:
        # A capsule counts as its cylinder: such links state a density of next to nothing, or their inertia.
        radius, length = shape.size
        mass = density * math.pi * radius**2 * length
        across = mass * (3 * radius**2 + length**2) / 12.0
        diagonal = np.array([across, across, 0.5 * mass * radius**2])
    return Inertial(mass, np.zeros(3), np.diag(diagonal)).moved(shape.pose)
