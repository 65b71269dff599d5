"""Physical parameters that each robot may have of its own, by the names that every simulator uses."""

from __future__ import annotations

from typing import Collection, Dict, List, Tuple

import torch

from sb3_isaac.contract.errors import UserError, unknown

PARAMS: Dict[str, str] = {
    "trunk_mass": "",
    "link_mass": "",
    "com": "vector",
    "friction": "",
    "kp": "joint",
    "kd": "joint",
    "motor_strength": "joint",
    "armature": "joint",
    "gravity": "vector",
}
"""Name -> what a robot's value is: one number, one for each joint (or one for all of them), or a vector.

============== ================= ================== ================================================================
name           shape             unit               what
============== ================= ================== ================================================================
trunk_mass     (N,)              kg                 mass of the trunk; its inertia is scaled alike
link_mass      (N,)              –                  factor of the masses and inertias of all other bodies, by default 1
com            (N, 3)            m, trunk           displacement of the trunk's centre of mass, by default 0
friction       (N,)              –                  sliding friction between the ground and the robot
kp             (N,) or (N, J)    N·m/rad            proportional gain
kd             (N,) or (N, J)    N·m·s/rad          derivative gain
motor_strength (N,) or (N, J)    –                  factor of the drive's torque and of its limit, by default 1
armature       (N,) or (N, J)    kg·m²              inertia of the rotor as the joint feels it
gravity        (N, 3)            m/s², world        gravitational acceleration
============== ================= ================== ================================================================
"""


def check_name(name: str, known: Collection[str], sim: str) -> None:
    """Raise a UserError where the simulator `sim` does not know the parameter."""
    if name not in known:
        raise unknown("parameter", name, known, where=f"sim={sim!r}")


def checked(name: str, values: torch.Tensor, num_envs: int, joints: int, known: Collection[str],
            sim: str) -> torch.Tensor:
    """`values` of the parameter `name` with the shape that it has for N robots of J joints, or a sentence.

    :param known: names that the simulator `sim` can set.
    """
    check_name(name, known, sim)
    kind = PARAMS[name]
    shapes: Dict[str, List[Tuple[int, ...]]] = {
        "": [(num_envs,)], "joint": [(num_envs,), (num_envs, joints)], "vector": [(num_envs, 3)]}
    allowed = shapes[kind]
    if tuple(values.shape) not in allowed:
        raise UserError(f"parameter {name!r} was given values of shape {tuple(values.shape)}: give one row for each "
                        f"robot, {' or '.join(map(str, allowed))}.")
    if kind == "joint" and values.dim() == 1:
        return values[:, None].expand(num_envs, joints)
    return values
