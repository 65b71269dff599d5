"""What can be randomised of a legged robot.

============== ============ ========= ==================================================================
parameter      unit         drawn at  what
============== ============ ========= ==================================================================
payload_kg     kg           startup   added to the trunk's mass
mass           –            startup   factor of the masses of all bodies, the trunk's too
com            m            startup   displacement of the trunk's centre of mass, on each axis
friction       –            startup   sliding friction between the ground and the robot
kp             –            startup   factor of each joint's proportional gain
kd             –            startup   factor of each joint's derivative gain
motor_strength –            startup   factor of each drive's torque and of its limit
armature       –            startup   factor of each joint's rotor inertia
gravity        m/s²         startup   added to the gravitational acceleration, on each axis
joint_offset   rad          reset     how much more than the truth each joint's encoder tells: the drive goes by it too
latency_s      s            reset     from an action to the drives
obs_latency_s  s            reset     from the sensors to the observation
noise_level    –            reset     factor of ``obs_noise``
push           m/s          interval  horizontal velocity that a blow adds to the trunk, in any direction
============== ============ ========= ==================================================================

``obs_noise`` is besides a mapping of sensors to :class:`~sb3_isaac.tasks.parts.sensing.Noise`.
"""

from __future__ import annotations

import math
from typing import Any, Callable, Dict, Mapping, Optional

import torch

from sb3_isaac.contract.errors import UserError
from sb3_isaac.tasks.parts.randomize import Draw, Parameter, ends

MOST_LATENCY_S = 1.0


def _one(task: Any) -> int:
    return 1


def _three(task: Any) -> int:
    return 3


def _joints(task: Any) -> int:
    return len(task.robot.joints)


def _set_masses(task: Any, mask: torch.Tensor) -> None:
    draws, factor = task.randomization.draws, 1.0
    if "mass" in draws:
        factor = draws["mass"][:, 0]
        task.sim.set_param("link_mass", factor, mask)
    payload = draws["payload_kg"][:, 0] if "payload_kg" in draws else 0.0
    task.sim.set_param("trunk_mass", task.randomization.nominal["trunk_mass"] * factor + payload, mask)


def _set_friction(task: Any, mask: torch.Tensor) -> None:
    task.sim.set_param("friction", task.randomization.draws["friction"][:, 0], mask)


def _set_factor(name: str) -> Callable[[Any, torch.Tensor], None]:
    def apply(task: Any, mask: torch.Tensor) -> None:
        own = task.randomization
        task.sim.set_param(name, own.nominal[name] * own.draws[name], mask)
    return apply


def _set_sum(name: str) -> Callable[[Any, torch.Tensor], None]:
    def apply(task: Any, mask: torch.Tensor) -> None:
        own = task.randomization
        task.sim.set_param(name, own.nominal[name] + own.draws[name], mask)
    return apply


def _push(task: Any, mask: torch.Tensor) -> None:
    speed, angle = task.randomization.draws["push"][:, 0], math.pi * task.uniform(task.zeros(1))[:, 0]
    lin_vel_w = torch.stack((speed * angle.cos(), speed * angle.sin(), torch.zeros_like(speed))).t()
    task.sim.push(lin_vel_w, torch.zeros_like(lin_vel_w), mask)


def _factor(name: str) -> Parameter:
    return Parameter(_joints, 1.0, "startup", 0.01, 100.0, "partners", _set_factor(name), (name,))


PARAMETERS: Dict[str, Parameter] = {
    "payload_kg": Parameter(_one, 0.0, "startup", -1e4, 1e4, "same", _set_masses, ("trunk_mass",)),
    "mass": Parameter(_one, 1.0, "startup", 0.01, 100.0, "same", _set_masses, ("trunk_mass", "link_mass")),
    "com": Parameter(_three, 0.0, "startup", -10.0, 10.0, "vector", _set_sum("com"), ("com",)),
    "friction": Parameter(_one, 1.0, "startup", 0.0, 100.0, "same", _set_friction, ("friction",)),
    "kp": _factor("kp"), "kd": _factor("kd"), "motor_strength": _factor("motor_strength"),
    "armature": _factor("armature"),
    "gravity": Parameter(_three, 0.0, "startup", -100.0, 100.0, "vector", _set_sum("gravity"), ("gravity",)),
    "joint_offset": Parameter(_joints, 0.0, "reset", -math.pi, math.pi, "joints"),
    "latency_s": Parameter(_one, 0.0, "reset", 0.0, MOST_LATENCY_S, "same"),
    "obs_latency_s": Parameter(_one, 0.0, "reset", 0.0, MOST_LATENCY_S, "same"),
    "noise_level": Parameter(_one, 1.0, "reset", 0.0, 1000.0, "same"),
    "push": Parameter(_one, 0.0, "interval", 0.0, 100.0, None, _push),
}


def check_table(table: Mapping[str, Draw], nominal: Mapping[str, torch.Tensor], noise: Optional[Mapping[str, Any]],
                ) -> None:
    """Raise a UserError where a table makes no sense for the robot whose `nominal` parameters these are."""
    for name in ("kp", "kd", "motor_strength", "armature"):
        if name in table and not bool((nominal[name] > 0).any()):
            raise UserError(f"randomize {name} is a factor, and the robot has {name} 0 in all joints, of which nothing "
                            "would come: leave it out, or give the robot another.")
    if table.get("push") is not None and table["push"].when not in (None, "interval"):
        raise UserError(f"randomize push is drawn at {table['push'].when}, and a push is at a moment: give when: "
                        "interval, or leave it out.")
    if "noise_level" in table and not noise:
        raise UserError("randomize noise_level is a factor of obs_noise, and there is none: give obs_noise too.")
    if "payload_kg" in table:
        trunk, least = float(nominal["trunk_mass"].min()), ends(table["payload_kg"])[0]
        least_trunk = trunk * (ends(table["mass"])[0] if "mass" in table else 1.0)
        if least_trunk + least <= 0:
            raise UserError(f"randomize payload_kg goes down to {least:g} kg, which leaves nothing of a trunk of "
                            f"{least_trunk:.3g} kg: give more than -{least_trunk:.3g}.")


def seen_by_critic(name: str) -> Callable[[Any], torch.Tensor]:
    """The observation of a parameter's draws, (N, k); of vectors in the body's frame, as its mirror image wants it."""
    if name == "gravity":
        return lambda f: f.to_body(f.draws["gravity"])
    return lambda f: f.draws[name]
