"""Whether a policy that was trained on the identified robot beats one of the nominal robot, on the true one.

``python tests/long_sysid_policy.py FOLDER [SEED] [STEPS]``: records two logs of a robot with the parameters ``TRUE``,
finds these again, trains the flat task's default settings on the robot as its file says, goes on from there for as many
steps on that robot and, beside it, on the robot as it was found, and evaluates both on the true one. Runs that are in
FOLDER already are not trained again. Four minutes of one free core.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any, Dict, List

from sb3_isaac.cli.main import main as sb3_isaac
from sb3_isaac.robots import get_robot
from sb3_isaac.robots.registry import describe
from sb3_isaac.sim.sysid import Found, identified_robot

ENV = "IsaacQuadrupedFlat-v0"
TRUE = {"armature": 1.4, "damping": 0.25, "friction": 0.12, "motor_strength": 0.8, "latency_s": 0.02, "payload_kg": 2.0}
STEPS = 300_000
NOT_IN_THE_FILE = ("latency_s", "payload_kg")
SHOWN = ("reward_mean", "forward_speed_mean", "falls_fraction", "yaw_drift_rad", "cost_of_transport")


def said(*args: str) -> Dict[str, Any]:
    """The JSON object that a verb prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert sb3_isaac([*args, "--json"]) == 0
    return json.loads(out.getvalue())


def options(robot: Path, params: Dict[str, float]) -> List[str]:
    """``--env-kwargs`` of a robot file and what is no part of it."""
    return [f"robot:{robot}", *(f"randomize.{name}:{params[name]:.4f}" for name in NOT_IN_THE_FILE)]


def trained(folder: Path, seed: int, steps: int, *given: str) -> str:
    """The run in a folder, trained unless it is there; not less for one that meets its goal sooner."""
    run = folder / "ppo" / f"{ENV}_1"
    if not (run / "DONE").is_file():
        assert sb3_isaac(["train", "--seed", str(seed), "-f", str(folder), "-n", str(steps), "--no-early-stop",
                          *given]) == 0
    return str(run)


def main() -> None:
    folder, seed = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    steps = int(sys.argv[3]) if len(sys.argv) > 3 else STEPS
    folder.mkdir(parents=True, exist_ok=True)
    logs = [str(folder / "log.csv"), "--standing", str(folder / "stand.csv")]
    assert sb3_isaac(["sysid", *logs, "--record", "--with", *(f"{name}:{value}" for name, value in TRUE.items())]) == 0
    values = said("sysid", *logs, "--yaml", str(folder / "found.yml"))
    found = {name: one["value"] for name, one in values.items()}
    print({name: round(value, 4) for name, value in found.items()}, flush=True)
    true = folder / "true.yml"
    robot = identified_robot(get_robot("quadruped"), {name: Found(value, 0.0) for name, value in TRUE.items()})
    true.write_text(describe(robot, folder))
    first = trained(folder / "first", seed, steps, "--env", ENV, "--env-kwargs", "threads:1")
    # The critic sees what is randomised, which the first one's network has no numbers for.
    same_critic = [f"observation.critic.{name}:None" for name in NOT_IN_THE_FILE]
    runs = {"nominal": trained(folder / "nominal", seed, steps, "--from", first),
            "identified": trained(folder / "identified", seed, steps, "--from", first, "--env-kwargs",
                                  *options(folder / "found.yml", found), *same_critic)}
    for name, run in runs.items():
        figures = said("eval", run, "--episodes", "48", "--env-kwargs", "threads:1", *options(true, TRUE))
        print(name, "on the true robot:", {key: round(figures[key], 3) for key in SHOWN}, flush=True)


if __name__ == "__main__":
    main()
