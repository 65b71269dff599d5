"""A long check, run by hand on an idle machine: what the task and the numpy interface cost on top of the physics.

`python tests/long_throughput.py [num_envs]` steps IsaacVecEnv (the whole of `step`) and a bare `mujoco.batch.Batch` of
the same model, from the same states with the same controls, in turn, and prints medians and their ratio. A third
contender is the bare batch with all visual geoms and position and velocity fields brought up to date after each step,
which shows what the engine saves by doing without the two.
"""

from __future__ import annotations

import sys
import time
from typing import List, Tuple

import mujoco
import numpy as np
from mujoco import batch

from sb3_isaac import IsaacVecEnv

ROUNDS, STEPS = 12, 24


def ours(env: IsaacVecEnv, actions: np.ndarray) -> Tuple[float, bool]:
    """Seconds of stepping, and whether any episode ended (a reset would be work that the bare batch is spared)."""
    ended, start = False, time.perf_counter()
    for action in actions:
        ended |= bool(env.step(action)[2].any())
    return time.perf_counter() - start, ended


def bare(worlds: batch.Batch, controls: np.ndarray, substeps: int,
         stage: mujoco.mjtStage = mujoco.mjtStage.mjSTAGE_NONE) -> float:
    """Seconds of the same physics alone."""
    ctrl, start = worlds.bind("ctrl"), time.perf_counter()
    for control in controls:
        ctrl[:] = control
        worlds.step(nstep=substeps, stage=stage.value)
    return time.perf_counter() - start


def main() -> None:
    num_envs = int(sys.argv[1]) if len(sys.argv) > 1 else 4096
    env = IsaacVecEnv("IsaacQuadrupedFlat-v0", num_envs=num_envs, seed=0, stagger=False)
    env.reset()
    sim = env.env.sim  # type: ignore[attr-defined]
    worlds = batch.Batch(sim.model, num_envs, sim.engine.threads)
    visual = batch.Batch(sim.visual_model, num_envs, sim.engine.threads)
    rng = np.random.default_rng(0)
    default = np.asarray(sim.robot.default_joint_pos, dtype=np.float32)
    times: List[Tuple[float, float, float]] = []
    for i in range(ROUNDS):
        actions = rng.normal(0, 0.1, (STEPS, num_envs, 12)).astype(np.float32)
        controls = default + np.float32(sim.robot.action_scale_rad) * actions
        worlds.state[:] = visual.state[:] = sim.engine._batch.state
        first = bare(worlds, controls, sim.substeps) if i % 2 else 0.0
        own, ended = ours(env, actions)
        assert not ended
        alone = first or bare(worlds, controls, sim.substeps)
        times.append((own, alone, bare(visual, controls, sim.substeps, mujoco.mjtStage.mjSTAGE_VEL)))
    assert np.array_equal(worlds.bind("qpos"), sim.engine._qpos), "the two have simulated the same"
    assert np.array_equal(worlds.bind("qpos"), visual.bind("qpos")), "visual geoms change nothing"
    own_s, bare_s, _ = np.median(times, axis=0)
    ratio, saved = np.median([(alone / own, full / alone) for own, alone, full in times], axis=0)
    print(f"{num_envs} robots x {STEPS} control steps of {sim.substeps} x {sim.engine.timestep_s} s, "
          f"{sim.engine.threads} threads, pyramidal cone; medians of {ROUNDS}: IsaacVecEnv {own_s:.3f} s "
          f"({num_envs * STEPS / own_s:,.0f} steps/s), bare batch {bare_s:.3f} s ({num_envs * STEPS / bare_s:,.0f}); "
          f"throughput ratio {ratio:.3f}; visual geoms and mjSTAGE_VEL would take {saved:.2f} times the physics")


if __name__ == "__main__":
    main()
