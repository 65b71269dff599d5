"""A simulation: described first, then prepared once, then stepped."""

from __future__ import annotations

import sys
import time
from typing import List, Optional, Sequence, Set, Union

import numpy as np
import torch

from sb3_isaac.contract.errors import UserError
from sb3_isaac.engine.cpu import CpuEngine
from sb3_isaac.gymcompat.model.actors import Actor, Env
from sb3_isaac.gymcompat.model.asset import UNLIMITED
from sb3_isaac.gymcompat.model.ground import Ground
from sb3_isaac.gymcompat.model.scene import Scene, compose
from sb3_isaac.gymcompat.runtime.properties import Properties, driven_joints, is_driven, stacked
from sb3_isaac.gymcompat.runtime.settings import current
from sb3_isaac.gymcompat.runtime.tensors import StateTensors, columns
from sb3_isaac.gymcompat.types.structs import SimParams


def without_effect(actors: Sequence[Actor]) -> List[str]:
    """What these actors ask for and do not get, in words."""
    asked = []
    velocity = np.concatenate([a.dof["velocity"] for a in actors])
    if ((velocity > 0) & (velocity < UNLIMITED)).any():
        asked.append("velocity limits of joints")
    if any(a.asset.options.linear_damping > 0 for a in actors):
        asked.append("linear damping of bodies")
    if any(a.asset.options.angular_damping > 0 for a in actors):
        asked.append("angular damping of bodies (AssetOptions has 0.5 unless told otherwise)")
    if any(a.asset.options.vhacd_enabled for a in actors):
        asked.append("convex decomposition (meshes collide as their hulls)")
    return asked


class Sim:
    """The handle that ``create_sim`` returns.

    :param graphics_device: below 0 means headless.
    """

    def __init__(self, params: SimParams, graphics_device: int) -> None:
        self.params, self.headless = params.copy(), graphics_device < 0
        self.grounds: List[Ground] = []
        self.envs: List[Env] = []
        self.frames, self.bad_worlds = 0, 0
        self.diverged = torch.zeros(0, dtype=torch.bool)
        """(N,) bool: environments that diverged in the last ``simulate`` and stand at their start again."""
        self.started = time.perf_counter()
        self.viewer: Optional[object] = None
        self._prepared: Optional[_Prepared] = None
        self._changed: Set[int] = set()

    @property
    def is_prepared(self) -> bool:
        """Whether the physics exists."""
        return self._prepared is not None

    def must_not_be_prepared(self, call: str) -> None:
        """Refuse to add to a simulation that is running."""
        if self._prepared is not None:
            raise UserError(f"{call}: the simulation is prepared already: make all environments, actors and grounds "
                            "before prepare_sim.")

    def add_env(self) -> Env:
        """An empty environment."""
        self.must_not_be_prepared("create_env")
        self.envs.append(Env(self, len(self.envs)))
        return self.envs[-1]

    def changed(self, env: Env) -> None:
        """An actor of `env` has new properties: they reach the physics before its next step."""
        self._changed.add(env.index)

    def prepare(self) -> None:
        """Build the physics. A second call does nothing, as some programs make one."""
        if self._prepared is None:
            self._check_envs()
            self._prepared = _Prepared(self.envs, self.grounds, self.params)
            self._changed.clear()
            ignored = without_effect(self.envs[0].actors)
            if ignored:
                print(f"gymcompat: MuJoCo has no {', no '.join(ignored)}: without effect.", file=sys.stderr)

    def running(self, call: str) -> "_Prepared":
        """The physics, with all changes of properties in it; programs that forget ``prepare_sim`` get it here."""
        if self._prepared is None:
            self.prepare()
        assert self._prepared is not None
        if self._changed:
            self._prepared.update([self.envs[i] for i in sorted(self._changed)])
            self._changed.clear()
        return self._prepared

    def _check_envs(self) -> None:
        if not self.envs or not self.envs[0].actors:
            raise UserError("prepare_sim: the simulation has no actors: make environments with create_env and "
                            "create_actor first.")
        first = [actor.asset for actor in self.envs[0].actors]
        for env in self.envs:
            if [actor.asset for actor in env.actors] != first:
                raise NotImplementedError(
                    f"prepare_sim: environment {env.index} holds other assets than environment 0: all environments "
                    "share one model here, so create the same actors in the same order in each.")

    def simulate(self) -> None:
        """One step of ``params.dt``."""
        running = self.running("simulate")
        self.diverged = running.step(self.params.substeps)
        self.frames += 1
        count = int(self.diverged.sum())
        if count and not self.bad_worlds:
            print(f"gymcompat: the physics of {count} of {len(self.envs)} environments diverged and was put back to "
                  "its start; this is said once.", file=sys.stderr)
        self.bad_worlds += count

    def set_params(self, params: SimParams) -> None:
        """Take over gravity; the step is part of the compiled physics."""
        if self._prepared is not None:
            if (params.dt, params.substeps) != (self.params.dt, self.params.substeps):
                raise UserError(f"set_sim_params: dt {params.dt:g} s with {params.substeps} substeps differs from the "
                                f"{self.params.dt:g} s with {self.params.substeps} that the simulation was prepared "
                                "with: set them before prepare_sim.")
            if list(params.gravity) != list(self.params.gravity):
                rows = torch.tensor([list(params.gravity)]).repeat(len(self.envs), 1)
                self._prepared.engine.set_model_field("opt.gravity", rows)
        self.params = params.copy()

    def close(self) -> None:
        """Release worlds and threads."""
        if self._prepared is not None:
            self._prepared.engine.close()
            self._prepared = None


class _Prepared:
    """The physics of a simulation: engine, state tensors, drives."""

    def __init__(self, envs: List[Env], grounds: List[Ground], params: SimParams) -> None:
        actors = envs[0].actors
        self.driven = driven_joints(envs)
        self.scene: Scene = compose(actors, grounds, params, self.driven)
        self.properties = Properties(self.scene, grounds)
        differing = self.properties.into_model(envs)
        self.engine = CpuEngine(self.scene.model, len(envs), current().threads)
        for name, values in differing.items():
            self.engine.set_model_field(name, torch.from_numpy(values.astype(np.float32)))
        self.tensors = StateTensors(self.engine, self.scene, [a.asset.num_dofs for a in actors])
        self._effort = self.engine.live("qfrc_applied")
        self.body_force = self.engine.live("xfrc_applied")
        self.pushed = False
        self._ctrl = torch.zeros(len(envs), self.scene.model.nu)
        shape = (len(envs), len(self.scene.joints))
        self.pos_target, self.vel_target = torch.zeros(shape), torch.zeros(shape)
        self._read_drives(envs, slice(None))
        self._place(envs)

    def _place(self, envs: List[Env]) -> None:
        """Put every actor where it was created, at rest, its joints at 0 or at the nearest position they can have."""
        rows = torch.tensor([[[*actor.start.p, *actor.start.r, *[0.0] * 6] for actor in env.actors] for env in envs])
        self.tensors.set_roots(rows)
        dof = stacked(envs, lambda a: a.dof)
        start = np.clip(0.0, dof["lower"], dof["upper"])
        self.tensors.set_dofs(torch.from_numpy(np.stack([start, np.zeros_like(start)], axis=-1).astype(np.float32)))
        everyone = torch.ones(len(envs), dtype=torch.bool)
        self._start = self.engine.live("qpos").clone(), self.engine.live("qvel").clone()
        self.engine.reset(everyone, *self._start)

    def _read_drives(self, envs: List[Env], rows: Union[slice, List[int]]) -> None:
        dof = stacked(envs, lambda a: a.dof)
        if isinstance(rows, slice):
            self._kp, self._kd, self._effort_mask = (torch.zeros(dof.shape) for _ in range(3))
        driven = torch.from_numpy(is_driven(dof["driveMode"])).float()
        self._kp[rows] = torch.from_numpy(dof["stiffness"].copy()) * driven
        self._kd[rows] = torch.from_numpy(dof["damping"].copy()) * driven
        self._effort_mask[rows] = 1.0 - driven
        self._takes_effort_everywhere = bool(self._effort_mask.all())

    def update(self, envs: List[Env]) -> None:
        """Take over changed properties of some environments."""
        more = driven_joints(envs) - self.driven
        if more:
            raise NotImplementedError(f"set_actor_dof_properties: joint {min(more)} of environment {envs[0].index} was "
                                      "given a position or velocity drive after prepare_sim: set drive modes before.")
        self.properties.into_engine(self.engine, envs)
        self._read_drives(envs, [env.index for env in envs])

    def set_effort(self, values: torch.Tensor, actors: Optional[torch.Tensor] = None) -> None:
        """Joint efforts (N, D), N·m or N, kept until they are set again; joints that follow targets ignore them."""
        values = values if self._takes_effort_everywhere else values * self._effort_mask
        where = columns(self.scene.qvel)
        if actors is None:
            self._effort[:, where] = values.double()
            return
        for slot, envs in self.tensors.split(actors):
            part = self.tensors.actor_dofs[slot]
            self._effort[envs[:, None], torch.from_numpy(self.scene.qvel[part].astype(np.int64))] = \
                values[envs, part].double()

    def set_target(self, target: torch.Tensor, values: torch.Tensor, actors: Optional[torch.Tensor] = None) -> None:
        """Write targets (N, D) into ``pos_target`` or ``vel_target``."""
        if actors is None:
            target.copy_(values)
            return
        for slot, envs in self.tensors.split(actors):
            target[envs, self.tensors.actor_dofs[slot]] = values[envs, self.tensors.actor_dofs[slot]]

    def step(self, substeps: int) -> torch.Tensor:
        """Advance all worlds; forces on bodies last for one step.

        :return: (N,) bool, the worlds that diverged. MuJoCo resets such a world to its ``qpos0``, where a free root
            lies at the world's origin; here it is put where its actors were created, at rest and without efforts.
        """
        if self.driven:
            has = np.flatnonzero(self.scene.drives >= 0)
            drive = (self._kp * self.pos_target + self._kd * self.vel_target)[:, torch.from_numpy(has)]
            self._ctrl[:, torch.from_numpy(self.scene.drives[has])] = drive
        self.engine.step(self._ctrl, substeps)
        self.tensors.stepped()
        if self.pushed:
            self.body_force.zero_()
            self.pushed = False
        diverged = self.engine.diverged.clone()
        if bool(diverged.any()):
            self.engine.reset(diverged, *self._start)
        return diverged

