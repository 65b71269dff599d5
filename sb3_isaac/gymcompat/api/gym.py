"""Gym, the object that clients call: simulations, time, ground; and a clear answer for what is not emulated."""

from __future__ import annotations

import time
from typing import Any, Callable

import numpy as np

from sb3_isaac.contract.errors import UserError
from sb3_isaac.gymcompat.api.gym_actors import ActorCalls
from sb3_isaac.gymcompat.api.gym_assets import AssetCalls, checked
from sb3_isaac.gymcompat.api.gym_cameras import CameraCalls
from sb3_isaac.gymcompat.api.gym_parts import PartCalls
from sb3_isaac.gymcompat.api.gym_single import SingleCalls
from sb3_isaac.gymcompat.api.gym_state import StateCalls
from sb3_isaac.gymcompat.api.gym_viewer import ViewerCalls
from sb3_isaac.gymcompat.api.unsupported import advice
from sb3_isaac.gymcompat.model import ground
from sb3_isaac.gymcompat.runtime.settings import current
from sb3_isaac.gymcompat.runtime.sim import Sim
from sb3_isaac.gymcompat.types.enums import SimType
from sb3_isaac.gymcompat.types.structs import HeightFieldParams, PlaneParams, SimParams, TriangleMeshParams, Version


class Gym(AssetCalls, ActorCalls, PartCalls, StateCalls, SingleCalls, CameraCalls, ViewerCalls):
    """What ``gymapi.acquire_gym()`` returns."""

    def create_sim(self, compute_device: int = 0, graphics_device: int = 0, type: int = SimType.SIM_FLEX,
                   params: Any = None) -> Sim:
        """A simulation of `params`. A negative `graphics_device` makes it headless."""
        params = params if params is not None else SimParams()
        checked("create_sim", "params", params, SimParams)
        if type != SimType.SIM_PHYSX:
            raise NotImplementedError("create_sim: type SIM_FLEX (soft bodies, particles) is not emulated: "
                                      "pass gymapi.SIM_PHYSX.")
        if params.use_gpu_pipeline and not current().cuda_to_cpu:
            raise UserError("create_sim: params.use_gpu_pipeline is True and this emulation computes on the CPU: "
                            "start the program with --sim_device cpu --pipeline cpu, or let 'sb3-isaac run "
                            "--cuda-to-cpu' map 'cuda:0' to the CPU.")
        if params.dt <= 0 or params.substeps < 1:
            raise UserError(f"create_sim: params.dt is {params.dt:g} s and params.substeps {params.substeps}: "
                            "give a dt above 0 and at least 1 substep.")
        return Sim(params, graphics_device)

    def destroy_sim(self, sim: Sim) -> None:
        """Release worlds, threads and window."""
        if sim.viewer is not None:
            self.destroy_viewer(sim.viewer)
        sim.close()

    def prepare_sim(self, sim: Sim) -> bool:
        """Build the physics of all that was created."""
        checked("prepare_sim", "sim", sim, Sim).prepare()
        return True

    def simulate(self, sim: Sim) -> None:
        """One step of ``params.dt``. No tensor changes before it is refreshed."""
        sim.simulate()

    def fetch_results(self, sim: Sim, wait: bool) -> None:
        """Results are there when ``simulate`` returns."""

    def get_sim_params(self, sim: Sim) -> SimParams:
        """A copy."""
        return sim.params.copy()

    def set_sim_params(self, sim: Sim, params: SimParams) -> None:
        """Change gravity; the step is fixed once the simulation is prepared."""
        sim.set_params(checked("set_sim_params", "params", params, SimParams))

    def get_sim_time(self, sim: Sim) -> float:
        """Seconds simulated."""
        return sim.frames * sim.params.dt

    def get_elapsed_time(self, sim: Sim) -> float:
        """Seconds of wall clock since the simulation was created."""
        return time.perf_counter() - sim.started

    def get_frame_count(self, sim: Sim) -> int:
        """Steps simulated."""
        return sim.frames

    def get_version(self) -> Version:
        """Of the API."""
        return Version()

    def add_ground(self, sim: Sim, params: PlaneParams) -> None:
        """A plane for all environments."""
        sim.must_not_be_prepared("add_ground")
        sim.grounds.append(ground.plane(checked("add_ground", "params", params, PlaneParams)))

    def add_heightfield(self, sim: Sim, samples: np.ndarray, params: HeightFieldParams) -> None:
        """A heightfield for all environments, stored once."""
        sim.must_not_be_prepared("add_heightfield")
        sim.grounds.append(ground.heightfield(samples, checked("add_heightfield", "params", params, HeightFieldParams)))

    def add_triangle_mesh(self, sim: Sim, vertices: np.ndarray, triangles: np.ndarray,
                          params: TriangleMeshParams) -> None:
        """A vertex grid for all environments, stored once as a heightfield."""
        sim.must_not_be_prepared("add_triangle_mesh")
        checked("add_triangle_mesh", "params", params, TriangleMeshParams)
        sim.grounds.append(ground.trimesh(vertices, triangles, params))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """A call of Isaac Gym's that is not emulated: it raises when it is called."""
        reason = advice(name)
        if reason is None:
            raise AttributeError(f"isaacgym's Gym has no method {name!r}.")

        def call(*args: Any, **kwargs: Any) -> Any:
            raise NotImplementedError(f"gym.{name} is not emulated: {reason}.")

        return call
