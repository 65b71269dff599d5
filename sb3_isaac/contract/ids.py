"""Environment ids and where their tasks are; a module of its own because registering them must not import torch."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Dict, Mapping

from sb3_isaac.contract.errors import UserError

_TASKS: Dict[str, str] = {
    "IsaacQuadrupedFlat-v0": "sb3_isaac.tasks.quadruped_flat:QuadrupedFlat",
    "IsaacQuadrupedVelocity-v0": "sb3_isaac.tasks.quadruped_velocity:QuadrupedVelocity",
    "IsaacQuadrupedRough-v0": "sb3_isaac.tasks.quadruped_rough:QuadrupedRough",
    "IsaacBipedVelocity-v0": "sb3_isaac.tasks.biped_velocity:BipedVelocity",
    "IsaacAnt-v0": "sb3_isaac.tasks.ant:Ant",
    "IsaacHumanoid-v0": "sb3_isaac.tasks.humanoid:Humanoid",
    "IsaacQuadrupedWaypoint-v0": "sb3_isaac.tasks.quadruped_waypoint:QuadrupedWaypoint",
    "IsaacQuadrupedVision-v0": "sb3_isaac.tasks.quadruped_vision:QuadrupedVision",
    "IsaacDoublePendulum-v0": "sb3_isaac.tasks.double_pendulum:DoublePendulum",
}
TASKS: Mapping[str, str] = MappingProxyType(_TASKS)
"""Environment id -> ``module:class`` of its task, those that users registered included."""
_ID, _PLACE = re.compile(r"[A-Za-z][\w.-]*-v\d+$"), re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*$")


def add_task(env_id: str, place: str) -> None:
    """Make the class at `place`, ``package.module:Class``, the task of `env_id`; again with the same place is fine."""
    if not isinstance(env_id, str) or not _ID.match(env_id):
        raise UserError(f"the environment id {env_id!r} cannot be registered: give a name and a version, such as "
                        "MyTask-v0.")
    if not isinstance(place, str) or not _PLACE.match(place):
        raise UserError(f"the task of {env_id} is {place!r}: give package.module:Class.")
    if _TASKS.get(env_id, place) != place:
        raise UserError(f"the environment id {env_id} is {_TASKS[env_id]} already and cannot be {place} too: choose "
                        "another id.")
    _TASKS[env_id] = place
