"""A long check, run by hand on an idle machine: what the tasks and doors cost on top of the physics.

`python tests/long_throughput.py [num_envs]` steps IsaacVecEnv (numpy door, the whole of `step`) and a bare
`mujoco.batch.Batch` of the same model with the same controls, in turn, and prints medians and their ratio.
"""

from __future__ import annotations

import sys
import time

import mujoco
import numpy as np
from mujoco import batch

from sb3_isaac import IsaacVecEnv

ROUNDS, STEPS = 11, 24


def main() -> None:
    num_envs = int(sys.argv[1]) if len(sys.argv) > 1 else 4096
    env = IsaacVecEnv("IsaacQuadrupedFlat-v0", num_envs=num_envs, seed=0)
    env.reset()
    sim = env.env.sim  # type: ignore[attr-defined]
    bare = batch.Batch(sim.model, num_envs, sim.engine.threads)
    rng = np.random.default_rng(0)
    ours, theirs = [], []
    for _ in range(ROUNDS):
        actions = rng.normal(0, 0.25, (STEPS, num_envs, 12)).astype(np.float32)
        bare.state[:] = sim.engine._batch.state
        controls = []
        start = time.perf_counter()
        for action in actions:
            env.step(action)
            controls.append(sim.engine._ctrl.copy())
        ours.append(time.perf_counter() - start)
        ctrl = bare.bind("ctrl")
        start = time.perf_counter()
        for control in controls:
            ctrl[:] = control
            bare.step(nstep=sim.substeps, stage=mujoco.mjtStage.mjSTAGE_VEL.value)
        theirs.append(time.perf_counter() - start)
    a, b = np.median(ours), np.median(theirs)
    ratio = np.median(np.array(theirs) / np.array(ours))
    print(f"{num_envs} robots x {STEPS} control steps, {sim.engine.threads} threads: IsaacVecEnv {a:.3f} s, bare batch "
          f"{b:.3f} s (medians of {ROUNDS}), throughput ratio {ratio:.3f}; "
          f"{num_envs * STEPS / a:,.0f} and {num_envs * STEPS / b:,.0f} control steps/s")


if __name__ == "__main__":
    main()
