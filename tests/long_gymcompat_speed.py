"""4096 of legged_gym's a1 on the emulation, beside bare ``mujoco.batch`` steps of the same model from the same states.

    python tests/long_gymcompat_speed.py LEGGED_GYM [--num-envs 4096] [--blocks 20]

A step of the emulation is what legged_gym does in one: set the efforts, simulate, refresh the joints; and after every
fourth the roots and contact forces. Blocks of four alternate in one process. It fails below a ratio of 0.75, or if the
process ever held 3 GB or the terrain of 1300 × 2100 samples was stored more than once.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from pathlib import Path
from typing import Any, Tuple

import numpy as np
import torch
from mujoco import batch

from sb3_isaac.gymcompat.api import gymapi, gymtorch

DECIMATION = 4
WARM_UP = 20
"""Control steps until all robots are down on the plane."""
STAND = {"hip": 0.0, "thigh": 0.9, "calf": -1.8}


def build(root: Path, num_envs: int, terrain: bool) -> Tuple[Any, Any]:
    """(gym, sim) as legged_gym's base class makes them, friction and mass different in every environment."""
    gym = gymapi.acquire_gym()
    params = gymapi.SimParams()
    params.dt, params.substeps, params.gravity = 0.005, 1, gymapi.Vec3(0, 0, -9.81)
    sim = gym.create_sim(0, -1, gymapi.SIM_PHYSX, params)
    if terrain:
        ground = gymapi.HeightFieldParams()
        ground.nbRows, ground.nbColumns, ground.row_scale, ground.column_scale = 2100, 1300, 0.1, 0.1
        ground.vertical_scale = 0.005
        rough = np.random.default_rng(0).integers(-10, 10, (1300, 2100), dtype=np.int16)
        gym.add_heightfield(sim, rough, ground)
    else:
        plane = gymapi.PlaneParams()
        plane.normal = gymapi.Vec3(0, 0, 1)
        gym.add_ground(sim, plane)
    options = gymapi.AssetOptions()
    options.default_dof_drive_mode, options.collapse_fixed_joints = gymapi.DOF_MODE_EFFORT, True
    options.replace_cylinder_with_capsule, options.density = True, 0.001
    asset = gym.load_asset(sim, str(root / "resources/robots/a1/urdf"), "a1.urdf", options)
    rng = np.random.default_rng(1)
    for i in range(num_envs):
        env = gym.create_env(sim, gymapi.Vec3(), gymapi.Vec3(), 64)
        shapes = gym.get_asset_rigid_shape_properties(asset)
        for shape in shapes:
            shape.friction = rng.uniform(0.5, 1.25)
        gym.set_asset_rigid_shape_properties(asset, shapes)
        where = gymapi.Vec3(20.0 + i % 64, 20.0 + i // 64, 0.42) if terrain else gymapi.Vec3(0, 0, 0.42)
        actor = gym.create_actor(env, asset, gymapi.Transform(p=where), "a1", i, 1, 0)
        bodies = gym.get_actor_rigid_body_properties(env, actor)
        bodies[0].mass += rng.uniform(-1, 1)
        gym.set_actor_rigid_body_properties(env, actor, bodies, recomputeInertia=True)
    gym.prepare_sim(sim)
    return gym, sim


class Robots:
    """The loop of legged_gym around it: a PD law on random targets."""

    def __init__(self, gym: Any, sim: Any, num_envs: int) -> None:
        self.gym, self.sim = gym, sim
        self.dof = gymtorch.wrap_tensor(gym.acquire_dof_state_tensor(sim))
        gym.acquire_actor_root_state_tensor(sim)
        gym.acquire_net_contact_force_tensor(sim)
        names = gym.get_asset_dof_names(sim.envs[0].actors[0].asset)
        self.stand = torch.tensor([next(v for k, v in STAND.items() if k in name) for name in names])
        self.pos = self.dof.view(num_envs, -1, 2)[..., 0]
        self.vel = self.dof.view(num_envs, -1, 2)[..., 1]
        self.pos[:] = self.stand
        gym.set_dof_state_tensor(sim, gymtorch.unwrap_tensor(self.dof))

    def torques(self, target: torch.Tensor) -> torch.Tensor:
        return 20.0 * (target - self.pos) - 0.5 * self.vel

    def step(self, target: torch.Tensor) -> np.ndarray:
        """One control step; the seconds it took without the PD law."""
        spent = np.zeros(2)
        for i in range(DECIMATION):
            torques = self.torques(target)
            start = clocks()
            self.gym.set_dof_actuation_force_tensor(self.sim, gymtorch.unwrap_tensor(torques))
            self.gym.simulate(self.sim)
            self.gym.refresh_dof_state_tensor(self.sim)
            if i == DECIMATION - 1:
                self.gym.refresh_actor_root_state_tensor(self.sim)
                self.gym.refresh_net_contact_force_tensor(self.sim)
            spent += clocks() - start
        return spent


def bare_step(bare: batch.Batch, state: np.ndarray) -> np.ndarray:
    """The same physics steps from `state` by ``mujoco.batch`` alone, efforts held; the seconds they took."""
    bare.state[...] = state
    start = clocks()
    for _ in range(DECIMATION):
        bare.step(nstep=1)
    return clocks() - start


def clocks() -> np.ndarray:
    """(wall, CPU) seconds. The second is what a machine that others use still tells right."""
    return np.array([time.perf_counter(), time.process_time()])


def peak_gb() -> float:
    """Most memory that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> int:
    """0 if speed and memory are as promised."""
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("--num-envs", type=int, default=4096)
    parser.add_argument("--blocks", type=int, default=20)
    args = parser.parse_args()
    start = time.perf_counter()
    gym, sim = build(args.root, args.num_envs, terrain=True)
    model = sim.running("speed").groups[0].scene.model
    stored = model.hfield_data.size
    print(f"terrain: {args.num_envs} environments made in {time.perf_counter() - start:.1f} s, {stored} heights stored "
          f"({stored * 4 / 1e6:.1f} MB), {len(os.sched_getaffinity(0))} cores")
    gym.destroy_sim(sim)

    gym, sim = build(args.root, args.num_envs, terrain=False)
    robots = Robots(gym, sim, args.num_envs)
    running = sim.running("speed").groups[0]
    bare = batch.Batch(running.scene.model, args.num_envs, running.engine.threads)
    own = running.engine._batch
    for name in ("geom_friction", "body_mass", "body_inertia"):
        bare.expand(name)[...] = own.expanded(name)
    bare.set_const(None)
    own.bind("ncon")
    torch.manual_seed(0)
    pairs = []
    for _ in range(args.blocks + WARM_UP):
        target = robots.stand + 0.3 * torch.randn(args.num_envs, len(robots.stand))
        running.drives.set_effort(robots.torques(target))
        pairs.append((bare_step(bare, own.state), robots.step(target)))
    seconds = np.array(pairs[WARM_UP:])  # (blocks, bare or emulation, wall or CPU)
    middle, ratio = np.median(seconds, axis=0) * 1e3, np.median(seconds[:, 0] / seconds[:, 1], axis=0)
    print(f"control step of {DECIMATION} physics steps, {args.num_envs} a1 on the plane, {running.engine.threads} "
          f"threads, medians: emulation {middle[1, 0]:.0f} ms ({middle[1, 1]:.0f} ms CPU), bare {middle[0, 0]:.0f} ms "
          f"({middle[0, 1]:.0f} ms CPU), "
          f"{own.bind('ncon').mean():.1f} contacts a robot; "
          f"bare / emulation {ratio[0]:.3f} ({ratio[1]:.3f} CPU); "
          f"peak memory {peak_gb():.2f} GB")
    return 0 if max(ratio) >= 0.75 and peak_gb() < 3.0 and stored == 1300 * 2100 else 1


if __name__ == "__main__":
    raise SystemExit(main())
