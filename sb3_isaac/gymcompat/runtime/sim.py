"""A simulation: described first, then prepared once, then stepped."""

from __future__ import annotations

import sys
import time
from typing import Any, Callable, Dict, List, Optional, Sequence, Set, Tuple

import torch

from sb3_isaac.contract.errors import UserError
from sb3_isaac.gymcompat.model.actors import Actor, Env
from sb3_isaac.gymcompat.model.asset import Asset
from sb3_isaac.gymcompat.model.ground import Ground
from sb3_isaac.gymcompat.model.layout import Layout
from sb3_isaac.gymcompat.runtime.cameras import Renderers
from sb3_isaac.gymcompat.runtime.group import Group, groups_of
from sb3_isaac.gymcompat.runtime.tensors import Tensors
from sb3_isaac.gymcompat.types.structs import SimParams


def without_effect(actors: Sequence[Actor]) -> List[str]:
    """What these actors ask for and do not get, in words."""
    asked = []
    jointed = [a.asset.options for a in actors if a.asset.num_bodies > 1 and a.asset.root_is_free]
    if any(options.linear_damping > 0 for options in jointed):
        asked.append("linear damping of bodies with joints")
    if any(options.angular_damping > 0 for options in jointed):
        asked.append("angular damping of bodies with joints (AssetOptions has 0.5 unless told otherwise)")
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
        self._prepared: Optional[Physics] = None
        self._changed: Set[int] = set()
        self.renderers = Renderers()
        self._later: List[Callable[[], None]] = []
        self.layout = Layout(self.envs)
        self.assets: Dict[Any, Asset] = {}
        """Those loaded before, as they were then: programs load the same file for each environment."""

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
            empty = [env.index for env in self.envs if not env.actors]
            if empty or not self.envs:
                what = f"environment {empty[0]}" if empty else "the simulation"
                raise UserError(f"prepare_sim: {what} has no actors: make environments with create_env and "
                                "create_actor first.")
            self._prepared = Physics(self.envs, self.layout, self.grounds, self.params)
            self._changed.clear()
            for do in self._later:
                do()
            self._later.clear()
            ignored = without_effect([actor for group in self._prepared.groups for actor in group.envs[0].actors])
            if ignored:
                print(f"gymcompat: MuJoCo has no {', no '.join(ignored)}: without effect.", file=sys.stderr)

    def when_running(self, do: Callable[[], None]) -> None:
        """Do it now, or as soon as the physics exists: programs set states while they still build environments."""
        if self._prepared is None:
            self._later.append(do)
        else:
            do()

    def running(self, call: str) -> "Physics":
        """The physics, with all changes of properties in it; programs that forget ``prepare_sim`` get it here."""
        if self._prepared is None:
            self.prepare()
        assert self._prepared is not None
        if self._changed:
            self._prepared.update([self.envs[i] for i in sorted(self._changed)])
            self._changed.clear()
        return self._prepared

    def simulate(self) -> None:
        """One step of ``params.dt``."""
        self.diverged = self.running("simulate").step(self.params.substeps)
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
                for group in self._prepared.groups:
                    rows = torch.tensor([list(params.gravity)]).repeat(group.num_worlds, 1)
                    group.engine.set_model_field("opt.gravity", rows)
        self.params = params.copy()

    def close(self) -> None:
        """Release worlds, threads and what draws pictures."""
        self.renderers.close()
        if self._prepared is not None:
            for group in self._prepared.groups:
                group.engine.close()
            self._prepared = None


class Physics:
    """What is simulated: groups of equal environments, and the tensors of all."""

    def __init__(self, envs: Sequence[Env], layout: Layout, grounds: Sequence[Ground], params: SimParams) -> None:
        self.groups = [Group(part, grounds, params) for part in groups_of(envs)]
        self.tensors = Tensors(self.groups, layout)
        self._group_of = {env.index: group for group in self.groups for env in group.envs}
        self._rows = [torch.tensor([env.index for env in group.envs]) for group in self.groups]
        self._diverged = torch.zeros(len(envs), dtype=torch.bool)

    def at(self, env: Env) -> Tuple[Group, int]:
        """The group that an environment belongs to, and its world there."""
        group = self._group_of[env.index]
        return group, group.rows[env.index]

    def update(self, envs: Sequence[Env]) -> None:
        """Take over changed properties of some environments."""
        for group in self.groups:
            part = [env for env in envs if env.index in group.rows]
            if part:
                group.update(part)

    def step(self, substeps: int) -> torch.Tensor:
        """Advance all environments; (N,) bool, those that diverged."""
        if len(self.groups) == 1:
            return self.groups[0].step(substeps)
        for rows, group in zip(self._rows, self.groups):
            self._diverged[rows] = group.step(substeps)
        return self._diverged.clone()
