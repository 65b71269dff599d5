"""``sb3-isaac robustness``: which robot is under which conditions, what is counted, the picture and the verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List

import pytest
import torch

from sb3_isaac.cli.main import main
from sb3_isaac.contract.episodes import Episodes
from sb3_isaac.contract.errors import UserError
from sb3_isaac.rl.policy.robustness import conditions_of, mean_success, try_under, verdict
from sb3_isaac.tasks import task_class
from sb3_isaac.tasks.parts.command import Commands
from sb3_isaac.tasks.parts.gait_report import walked
from sb3_isaac.tasks.parts.ground import Ground
from sb3_isaac.view.robustness import success_map

pytest.importorskip("mujoco")
FLAT = "IsaacQuadrupedFlat-v0"
FEW = {"friction": [0.4, 1.25], "payload_kg": [0.0], "latency_s": [0.0, 0.05], "noise_level": [1.0], "push": [0.5]}


def test_success_is_no_fall_and_a_speed_within_a_fifth() -> None:
    """Told 1 m/s: 0.85 m/s is within 20%, 0.75 is not; told to stand, 0.05 m/s is near enough."""
    episodes = Episodes(5, torch.device("cpu"))
    log = {"command": torch.tensor([[1.0, 0.0]] * 4 + [[0.0, 0.0]]), "left_speed": torch.zeros(5),
           "forward_speed": torch.tensor([0.85, 0.75, 1.0, 1.25, 0.05])}
    for step in range(2):
        terminated = torch.tensor([False, False, step == 1, False, False])
        episodes.add(torch.ones(5), terminated, torch.full((5,), step == 1) & ~terminated, log)
    outcome = walked(episodes, ["forward_m_s", "yaw_rad_s"])
    assert outcome["success"].tolist() == [True, False, False, False, True]
    assert outcome["speed_m_s"].tolist() == pytest.approx([0.85, 0.75, 1.0, 1.25, 0.05])


def test_nothing_of_the_training_is_drawn_besides() -> None:
    trained = {"randomize": {"mass": [0.9, 1.1], "friction": [0.5, 1.0], "obs_noise": {"joint_pos": 0.5}}}
    made = task_class(FLAT).condition_options(trained, {"friction": [0.4, 1.25], "noise_level": [1.0, 1.0]})
    assert made["randomize"] == {"mass": None, "friction": {"each": [0.4, 1.25]}, "obs_noise": {"joint_pos": 0.5},
                                 "noise_level": {"each": [1.0, 1.0]}}


def test_terrain_is_a_level_for_each_cell_and_every_level_has_the_same_columns() -> None:
    """Two cells with four robots each, on two columns; the rest of the terrain stays that of the training."""
    trained = {"terrain": {"tiles": {"wave": 1, "rough": 1}, "levels": 6, "tile_m": 4.0}}
    made = task_class(FLAT).condition_options(trained, {"terrain": [0.0, 5.0], "friction": [0.4, 0.4]})
    assert made == {"randomize": {"friction": {"each": [0.4, 0.4]}},
                    "terrain": {**trained["terrain"], "level": {"each": [0, 5]}}}
    ground = Ground(made["terrain"])
    ground.settle(8, torch.device("cpu"))
    assert ground.first_level().tolist() == [0, 5] * 4 and not ground.curriculum
    assert ground.column.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert "terrain" not in conditions_of(FLAT, {}) and conditions_of(FLAT, {"terrain": [0, 5]})["terrain"] == [0, 5]
    assert conditions_of("IsaacQuadrupedRough-v0", {})["terrain"] == [0, 3, 6]


def test_no_condition_goes_with_a_command() -> None:
    """108 cells and 45 commands, told by turns, would meet in 5 of them each: here robots of each payload are told all
    45, about as often."""
    velocity = task_class("IsaacQuadrupedVelocity-v0")
    cells = [float(i) for i in range(108)]
    options = velocity.condition_options({}, {"payload_kg": cells})
    given = velocity.evaluation_options(options)["command"]
    commands = Commands(velocity.command_axes({}), given)
    told = commands._told(torch.zeros(864, dtype=torch.long), 0.02, torch.device("cpu"))
    numbers = told.unique(dim=0, return_inverse=True)[1]
    assert sorted(set(numbers.bincount().tolist())) == [19, 20]
    of_cell = [len(set(numbers[cell::108].tolist())) for cell in range(108)]
    assert min(of_cell) >= 5 and sum(of_cell) / 108 > 6.5
    third = [numbers[torch.arange(864) % 108 // 12 % 3 == payload].bincount(minlength=45) for payload in range(3)]
    assert all(int(count.min()) >= 1 for count in third)


def report(**success: float) -> Dict[str, Any]:
    """Of two conditions with two values each, by names such as ``a0b1``."""
    cells: List[Dict[str, Any]] = [{"a": float(name[1]), "b": float(name[3]), "success": value}
                                   for name, value in success.items()]
    return {"conditions": {"a": [0.0, 1.0], "b": [0.0, 1.0]}, "cells": cells, "episodes": 4, "success": 0.5,
            "worst": {"a": 1.0, "b": 1.0, "success": 0.25}}


def test_means_maps_and_the_verdict_by_hand() -> None:
    one = report(a0b0=1.0, a0b1=0.5, a1b0=0.25, a1b1=0.25)
    assert mean_success(one["cells"], {"a": 0.0}) == 0.75 and mean_success(one["cells"], {"a": 2.0}) is None
    assert success_map(one, "a", "b") == [[1.0, 0.25], [0.5, 0.25]]
    assert verdict({"run": one}) == "run succeeds in 50.0% of 4 episodes, least at a 1, b 1: 25%."
    assert verdict({"x": {**one, "success": 0.4}, "y": one}).endswith(": y holds better.")
    assert verdict({"x": one, "y": one}).endswith(": they hold alike.")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    assert main(["train", "--num-envs", "8", "-n", "64", "-f", str(folder), "--seed", "0", "--eval-freq", "-1",
                 "--eval-episodes", "1", "--env-kwargs", "threads:1", "episode_length_s:0.2",
                 "-params", "n_steps:8", "n_minibatches:1", "symmetry:None"]) == 0
    return folder / "ppo" / f"{FLAT}_1"


def test_two_runs_are_tried_in_every_cell(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "pictures" / "r.png"
    given = [f"{name}:{values}" for name, values in FEW.items()]
    assert main(["robustness", str(run), "--with", str(run / "policy.pth"), "--vary", *given, "--episodes", "2",
                 "--out", str(out), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert json.loads(out.with_suffix(".json").read_text()) == printed and out.read_bytes()[:4] == b"\x89PNG"
    (first, one), (second, other) = printed["runs"].items()
    assert (first, second) == (run.name, "policy") and one == other, "one policy from one seed is one result"
    assert [(cell["friction"], cell["latency_s"]) for cell in one["cells"]] == [(0.4, 0), (0.4, 0.05), (1.25, 0),
                                                                              (1.25, 0.05)]
    assert all(cell["episodes"] == 2 for cell in one["cells"]) and one["episodes"] == 8
    assert set(one["cells"][0]) == {*FEW, "success", "reward", "terminated", "speed_m_s", "episodes"}
    assert "alike" in printed["verdict"]


def test_robots_are_under_the_conditions_of_their_cell(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sb3_isaac.policy.formats import load_policy
    from sb3_isaac.rl.policy import robustness

    seen: List[Any] = []
    inner = robustness.run_episodes
    monkeypatch.setattr(robustness, "run_episodes", lambda env, *args: (inner(env, *args), seen.append(env))[0])
    try_under(load_policy(str(run)), FEW, 2, seed=0)
    (env,) = seen
    draws = {name: values[:, 0].tolist() for name, values in env.randomization.draws.items()}
    assert draws["friction"] == pytest.approx([0.4, 0.4, 1.25, 1.25] * 2)
    assert draws["latency_s"] == pytest.approx([0.0, 0.05] * 4) and draws["push"] == [0.5] * 8


@pytest.mark.parametrize(("args", "said"), [
    (["--vary", "frictoin:0.4"], r"unknown condition 'frictoin' in IsaacQuadrupedFlat-v0: did you mean 'friction'"),
    (["--vary", "friction:[]"], r"--vary friction is \[\]: give a number, or a list"),
    (["--vary", "friction:slippery"], r"--vary friction is 'slippery': give a number"),
    (["--episodes", "5000"], r"108 combinations of conditions with 5000 episodes each are more than 100,000"),
    (["--vary", "payload_kg:-9"], r"randomize payload_kg goes down to -9 kg, which leaves nothing of a trunk"),
    (["--vary", "terrain:1.5"], r"terrain level is 1.5: give a whole number of at least 0 and at most 9"),
    (["--vary", "terrain:[0,12]"], r"terrain level is 12: give a whole number of at least 0 and at most 9"),
    (["--env-kwargs", "randomize:None"], r"unknown key 'randomize' in --env-kwargs"),
    (["--episodes", "900", "--out", "."], r"could not write \., which is a folder: give the name of a file"),
    (["--episodes", "900", "--out", f"{__file__}/no/where.png"], r"could not write .*where.png \(Not a directory\)"),
])
def test_what_cannot_be_tried_is_one_sentence(run: Path, args: List[str], said: str,
                                              capsys: pytest.CaptureFixture) -> None:
    import re

    assert main(["robustness", str(run), *args]) == 2
    assert re.search(said, capsys.readouterr().err)


def test_a_task_without_conditions_says_so() -> None:
    with pytest.raises(UserError, match="IsaacDoublePendulum-v0 has no conditions to try a policy under"):
        conditions_of("IsaacDoublePendulum-v0", {})
