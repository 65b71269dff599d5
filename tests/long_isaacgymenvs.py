"""The tasks of IsaacGymEnvs on the emulation: each is made by its own configuration and steps random actions.

    python tests/long_isaacgymenvs.py ISAACGYMENVS [--task Ant ...] [--num-envs 8] [--steps 200] [--limit-s 600]

ISAACGYMENVS is a checkout; hydra-core, omegaconf, rl-games, gym 0.23 and what else its tasks import are needed on
PYTHONPATH. Each task runs in a process of its own, as a program under ``sb3-isaac run --legacy-numpy --cuda-to-cpu``.
It passes if all steps are made, all observations and rewards are finite and no world diverged.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import List

TASKS = ("AllegroHand", "AllegroHandDextremeManualDR", "AllegroHandDextremeADR", "AllegroKuka",
         "AllegroKukaTwoArmsLSTM", "Ant", "Anymal", "AnymalTerrain", "BallBalance", "Cartpole", "FactoryTaskGears",
         "FactoryTaskInsertion", "FactoryTaskNutBoltPick", "FactoryTaskNutBoltPlace", "FactoryTaskNutBoltScrew",
         "FrankaCabinet", "FrankaCubeStack", "Humanoid", "HumanoidAMP", "IndustRealTaskGearsInsert",
         "IndustRealTaskPegsInsert", "Ingenuity", "Quadcopter", "ShadowHand", "Trifinger")
PROGRAM = '''
import os
import sys
import isaacgym
import torch
import isaacgymenvs
from hydra import compose, initialize_config_dir
from sb3_isaac.gymcompat.runtime import sim as emulation

task, num_envs, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
made = []
create = emulation.Sim.__init__
def noted(self, *args):
    create(self, *args)
    made.append(self)
emulation.Sim.__init__ = noted
initialize_config_dir(os.path.join(os.path.dirname(isaacgymenvs.__file__), "cfg"), version_base="1.1").__enter__()
cfg = compose("config", overrides=[f"task={task}", f"num_envs={num_envs}", "headless=True", "sim_device=cpu:0",
                                   "rl_device=cpu", "pipeline=cpu", *sys.argv[4:]])
torch.manual_seed(0)
env = isaacgymenvs.make(0, cfg.task_name, num_envs, "cpu:0", "cpu", -1, True, False, False, False, cfg)
env.reset()
finite = True
for _ in range(steps):
    actions = 2.0 * torch.rand(env.num_envs, env.num_actions) - 1.0
    observations, rewards, _, _ = env.step(actions)
    seen = observations.values() if isinstance(observations, dict) else [observations]
    parts = [p for o in seen for p in (o.values() if isinstance(o, dict) else [o])]
    finite &= all(bool(torch.isfinite(p.float()).all()) for p in (*parts, rewards))
print(f"RESULT {steps} steps, {sum(sim.bad_worlds for sim in made)} diverged worlds, "
      f"{'all finite' if finite else 'NOT FINITE'}")
'''


def run(root: Path, program: Path, task: str, args: argparse.Namespace) -> str:
    """What came of one task, in a line."""
    env = dict(os.environ, PYTHONPATH=os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")]))
    command = [sys.executable, "-m", "sb3_isaac", "run", "--sim", "mujoco", "--legacy-numpy", "--cuda-to-cpu",
               str(program), task, str(args.num_envs), str(args.steps), *args.override]
    try:
        done = subprocess.run(command, cwd=program.parent, env=env, capture_output=True, text=True, check=False,
                              timeout=args.limit_s)
    except subprocess.TimeoutExpired:
        return f"not done after {args.limit_s} s"
    results = [line[7:] for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if args.log:
        (args.log / f"{task}.txt").write_text(done.stdout + done.stderr)
    return results[0] if results else f"exit code {done.returncode}: {(done.stderr.strip().splitlines() or ['?'])[-1]}"


def main() -> int:
    """0 if every task passed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("--task", nargs="*", default=list(TASKS))
    parser.add_argument("--num-envs", type=int, default=8)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--limit-s", type=int, default=600)
    parser.add_argument("--log", type=Path, help="folder for what each task printed")
    parser.add_argument("--override", nargs="*", default=[], help="of the configuration, as hydra takes them")
    args = parser.parse_args()
    failed: List[str] = []
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "random_actions.py"
        program.write_text(PROGRAM)
        for task in args.task:
            start = time.perf_counter()
            result = run(args.root.resolve(), program, task, args)
            if " 0 diverged worlds, all finite" not in result:
                failed.append(task)
            print(f"{task}: {result} ({time.perf_counter() - start:.0f} s)", flush=True)
    print(f"{len(args.task) - len(failed)} of {len(args.task)} tasks passed; not: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
