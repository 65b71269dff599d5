"""Velocity limits as PhysX has them: of joints, and of bodies (``max_linear_velocity``, ``max_angular_velocity``).

After a step PhysX cuts what is faster. Here a free root's two velocities are cut to their lengths, and a joint's speed
to its own limit and to that of the body that it moves, as if its parent stood still.
"""

from __future__ import annotations

from typing import Sequence, Union

import numpy as np
import torch

from sb3_isaac.engine.cpu import CpuEngine
from sb3_isaac.gymcompat.model.actors import Actor, Env
from sb3_isaac.gymcompat.model.scene import Scene
from sb3_isaac.gymcompat.runtime.stacked import stacked


class VelocityLimits:
    """The limits of a group of environments, N worlds with V degrees of freedom."""

    def __init__(self, engine: CpuEngine, scene: Scene, envs: Sequence[Env]) -> None:
        self._qpos, self._qvel, self._step_s = engine.live("qpos"), engine.live("qvel"), engine.timestep_s
        self._places, self._joints = (torch.from_numpy(v.astype(np.int64)) for v in (scene.qpos, scene.qvel))
        self._most = torch.full(self._qvel.shape, float("inf"), dtype=torch.float64)
        """(N, V) m/s or rad/s. A root's is for each component; together they may be √3 times as fast."""
        self._roots = []
        for first, actor in zip(scene.root_qvel.tolist(), envs[0].actors):
            options = actor.asset.options
            for start, most in ((first, options.max_linear_velocity), (first + 3, options.max_angular_velocity)):
                if first >= 0:
                    self._roots.append((slice(start, start + 3), most))
                    self._most[:, start:start + 3] = most / 3**0.5
        self.read(envs, slice(None))

    def read(self, envs: Sequence[Env], rows: Union[slice, Sequence[int]]) -> None:
        """Take over the limits of some environments' joints."""
        most = torch.from_numpy(stacked(envs, joint_limits))
        self._most[torch.arange(len(self._most))[rows][:, None], self._joints] = most

    def apply(self) -> None:
        """Cut the velocities that the last physics step has led to, and how far the joints went with them."""
        if not bool((self._qvel.abs() > self._most).any()):
            return
        joints, most = self._qvel[:, self._joints], self._most[:, self._joints]
        cut = torch.minimum(torch.maximum(joints, -most), most)
        self._qvel[:, self._joints] = cut
        self._qpos[:, self._places] -= (joints - cut) * self._step_s
        for part, limit in self._roots:
            speed = self._qvel[:, part].norm(dim=1, keepdim=True)
            self._qvel[:, part] *= limit / speed.clamp(min=limit)


def joint_limits(actor: Actor) -> np.ndarray:
    """(D,) rad/s or m/s, most speed of an actor's joints; a velocity of 0 is none given."""
    options, own = actor.asset.options, actor.dof["velocity"].astype(float)
    bodies = np.where(actor.asset.dof_is_slide, options.max_linear_velocity, options.max_angular_velocity)
    return np.minimum(np.where(own > 0, own, np.inf), bodies)
