"""Environments whose actors are the same: worlds of one model, stepped by one engine."""

from __future__ import annotations

from typing import Dict, List, Mapping, Optional, Sequence

import numpy as np
import torch

from sb3_isaac.contract.rotations import rotate
from sb3_isaac.engine.cpu import CpuEngine
from sb3_isaac.gymcompat.model.actors import Env
from sb3_isaac.gymcompat.model.ground import Ground
from sb3_isaac.gymcompat.model.scene import compose, wxyz
from sb3_isaac.gymcompat.runtime.drives import Drives, columns, driven_joints, has_stiff_drives
from sb3_isaac.gymcompat.runtime.properties import Properties
from sb3_isaac.gymcompat.runtime.settings import current
from sb3_isaac.gymcompat.runtime.stacked import stacked
from sb3_isaac.gymcompat.runtime.states import States
from sb3_isaac.gymcompat.types.structs import SimParams


class Group:
    """The physics of some environments: engine, states, drives.

    Scene and engine are those of one environment and of all; ``rows`` gives an environment's world by its index.
    """

    def __init__(self, envs: Sequence[Env], grounds: Sequence[Ground], params: SimParams) -> None:
        self.envs, self.rows = list(envs), {env.index: row for row, env in enumerate(envs)}
        self.num_worlds, self.num_actors = len(envs), len(envs[0].actors)
        self.driven = driven_joints(envs)
        self.scene = compose(envs[0], grounds, params, self.driven, stiff=False)
        self.properties = Properties(self.scene, grounds)
        differing = self.properties.into_model(envs)
        if has_stiff_drives(envs, self.scene.model, self.scene.qvel):
            self.scene = compose(envs[0], grounds, params, self.driven, stiff=True)
            self.properties = Properties(self.scene, grounds)
            differing = self.properties.into_model(envs)
        self.engine = CpuEngine(self.scene.model, len(envs), current().threads)
        for name, values in differing.items():
            self.engine.set_model_field(name, torch.from_numpy(values.astype(np.float32)))
        assets = [actor.asset for actor in envs[0].actors]
        self.states = States(self.engine, self.scene, [a.num_dofs for a in assets], [a.num_bodies for a in assets])
        self.body_force = self.engine.live("xfrc_applied")
        self.pushed = False
        self.drives = Drives(self.engine, self.scene, envs)
        self._place()

    def _place(self) -> None:
        """Put every actor where it was created, at rest, its joints at 0 or at the nearest position they can have."""
        rows = torch.tensor([[[*actor.start.p, *actor.start.r, *[0.0] * 6] for actor in env.actors]
                             for env in self.envs])
        everyone = torch.arange(self.num_worlds)
        for slot in range(self.num_actors):
            self.states.set_root(rows, slot, everyone)
        dof = stacked(self.envs, lambda a: a.dof)
        start = np.clip(0.0, dof["lower"], dof["upper"])
        self.states.set_dofs(torch.from_numpy(np.stack([start, np.zeros_like(start)], axis=-1).astype(np.float32)))
        self._start = self.engine.live("qpos").clone(), self.engine.live("qvel").clone()
        self._reset(torch.ones(self.num_worlds, dtype=torch.bool))

    def _reset(self, mask: torch.Tensor) -> None:
        self.engine.reset(mask, *self._start)
        self.attract(range(self.num_worlds))

    def attract(self, rows: Sequence[int]) -> None:
        """Put the attractors' targets where they are wanted."""
        if not len(self.scene.attractors):
            return
        pos, quat = self.engine.live("mocap_pos"), self.engine.live("mocap_quat")
        for row in rows:
            targets = [attractor.target for attractor in self.envs[row].attractors]
            pos[row] = torch.tensor([list(target.p) for target in targets]).double()
            quat[row] = torch.tensor([wxyz(target.r) for target in targets]).double()

    def update(self, envs: Sequence[Env]) -> None:
        """Take over changed properties of some environments."""
        more = driven_joints(envs) - self.driven
        if more:
            raise NotImplementedError(f"set_actor_dof_properties: joint {min(more)} of environment {envs[0].index} was "
                                      "given a position or velocity drive after prepare_sim: set drive modes before.")
        rows = [self.rows[env.index] for env in envs]
        self.properties.into_engine(self.engine, envs, rows)
        self.drives.read(envs, rows)
        self.attract(rows)

    def set_control(self, what: str, values: torch.Tensor, slot: Optional[int] = None,
                    worlds: Optional[torch.Tensor] = None) -> None:
        """Efforts or targets (N, D), of one actor in some worlds only if one is named."""
        part = slice(None) if slot is None else self.states.actor_dofs[slot]
        if what == "effort":
            self.drives.set_effort(values, part, worlds)
        else:
            self.drives.set_target(what, values, part, worlds)

    def push(self, given: Mapping[str, torch.Tensor], local: bool) -> None:
        """Act on the bodies in the next step, by ``forceTensor``, ``torqueTensor``, ``posTensor`` (N, B, 3).

        They are in the world's frame or, if `local`, in each body's; without positions forces act at centres of mass.
        """
        bodies, live = columns(self.scene.bodies), self.engine.live
        if local or "posTensor" in given:
            self.states.to_present()
        values = dict(given)
        if local:
            values = {name: rotate(live("xquat")[:, bodies], v) for name, v in values.items()}
        if "posTensor" in values:
            place = values.pop("posTensor") + (live("xpos")[:, bodies] if local else 0.0)
            values["torqueTensor"] = torch.linalg.cross(place - live("xipos")[:, bodies], values["forceTensor"])
        for name, start in (("forceTensor", 0), ("torqueTensor", 3)):
            if name in values:
                self.body_force[:, bodies, start:start + 3] = values[name]
        self.pushed = True

    def step(self, substeps: int) -> torch.Tensor:
        """Advance all worlds; forces on bodies last for one step.

        :return: (N,) bool, the worlds that diverged. MuJoCo resets such a world to its ``qpos0``, where a free root
            lies at the world's origin; here it is put where its actors were created, at rest and without efforts.
        """
        diverged = self.drives.step(substeps)
        self.states.stepped()
        if self.pushed:
            self.body_force.zero_()
            self.pushed = False
        if bool(diverged.any()):
            self._reset(diverged)
        return diverged


def groups_of(envs: Sequence[Env]) -> List[List[Env]]:
    """The environments, those together that can share a model: the same assets, attractors and collision filters."""
    groups: Dict[object, List[Env]] = {}
    for env in envs:
        groups.setdefault(env.key(), []).append(env)
    return list(groups.values())
