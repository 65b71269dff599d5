"""What is measured, shown and aimed at is the task's own: nothing above ``tasks/`` knows walking."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import List, Set

import pytest

from sb3_isaac.cli.main import main
from sb3_isaac.tasks.double_pendulum import DoublePendulum
from sb3_isaac.tasks.quadruped_flat import QuadrupedFlat
from sb3_isaac.view import plot

PACKAGE = Path(__file__).resolve().parents[1] / "sb3_isaac"
GENERIC = [*(path for name in ("rl", "envs", "cli", "view", "tuning", "bench", "config", "contract")
             for path in sorted((PACKAGE / name).rglob("*.py"))),
           PACKAGE / "clients" / "__init__.py", *sorted(PACKAGE.glob("*.py"))]
WALKING = re.compile(r"walk|gait|yaw|trot|forward_?speed|knee|trunk|clearance|duty"
                     r"|\b1(\.0)? m/s|(?<![\d.])300(?![\d.])", re.IGNORECASE)
ALLOWED = {
    # Arithmetic of rotations: the angle about the vertical axis has no other name.
    "contract/rotations.py": {"yaw"},
    # The docstring of StopRule.goal gives an example of a task's sentence.
    "contract/tensor_env.py": {"walk"},
}


def walking_words(text: str) -> Set[str]:
    return {match[0].lower() for match in WALKING.finditer(text)}


@pytest.mark.parametrize("path", GENERIC, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_word_of_walking_outside_the_tasks(path: Path) -> None:
    name = path.relative_to(PACKAGE).as_posix()
    assert walking_words(path.read_text(encoding="utf-8")) <= ALLOWED.get(name, set())


def test_words_of_walking_are_found_where_they_belong() -> None:
    assert walking_words((PACKAGE / "tasks" / "quadruped_flat.py").read_text(encoding="utf-8")) >= {"walk", "gait"}
    assert walking_words("reward > 300 at 1 m/s, --video walk.mp4, 'forward_speed_mean', yaw_drift_rad") == {
        "300", "1 m/s", "walk", "forward_speed", "yaw"}
    assert not walking_words("3000 steps, 0.300 s, 11 m/s, a robot")


def train(folder: Path, height_reward: float) -> Path:
    """Two iterations of ten-step episodes, each step worth about `height_reward` while the pendulum is upright."""
    assert main(["train", "--env", "IsaacDoublePendulum-v0", "--num-envs", "64", "-n", "8192", "--seed", "0",
                 "--eval-freq", "1", "--eval-episodes", "16", "-f", str(folder), "-params", "n_steps:64",
                 "--env-kwargs", f"reward.height:{height_reward}", "episode_length_s:0.2"]) == 0
    return folder / "ppo" / "IsaacDoublePendulum-v0_1"


def row_names(run: Path) -> List[str]:
    with open(run / "metrics.csv", encoding="utf-8", newline="") as file:
        return next(csv.reader(file))


def test_the_pendulum_ends_shows_and_plots_by_its_own_measures(
        tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rule wants a reward of 450: ten steps at 60 give up to 600."""
    run = train(tmp_path, 60.0)
    said = capsys.readouterr().out
    assert "it balances: stopped at 4,096 steps" in said
    assert re.search(r"reward \d+\.\d  length \d+  tip 0\.9\d m  falls \d+  ", said)
    assert re.search(r"evaluation, 16 episodes: reward 5\d\d\.\d, falls 0\.0%, tip 0\.9\d m", said)
    names = set(row_names(run))
    assert {"rollout/tip_height_m", "rollout/falls", "eval/tip_height_mean_m", "reward/height"} <= names
    assert not [name for name in names if WALKING.search(name)] and not names & keys_of_the_quadruped_alone()
    meta = json.loads((run / "meta.json").read_text(encoding="utf-8"))
    assert meta["panels"] == [list(panel) for panel in DoublePendulum.display.panels]
    assert meta["stop_rule"] == {"eval/reward_mean": [450.0, None], "eval/falls_fraction": [0.0, 0.02]}

    drawn = []
    monkeypatch.setattr(plot, "save", lambda figure, out: drawn.append(figure))
    plot.draw([plot.read_run(run)], ["pendulum"], tmp_path / "curve.png")
    titles = [axis.get_title() for axis in drawn[0].axes]
    assert titles == [panel.title for panel in (*plot.COMMON, *DoublePendulum.display.panels)]
    assert not WALKING.search(said + " ".join(titles))


def test_below_its_own_goal_the_pendulum_trains_to_the_end(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Ten steps at 40 give 400 at most, which would do for another task."""
    run = train(tmp_path, 40.0)
    assert "stopped at" not in capsys.readouterr().out
    assert (run / "DONE").read_text(encoding="utf-8").strip() == "8192"


def keys_of_the_quadruped_alone() -> Set[str]:
    """Columns of metrics.csv that its display names, and the pendulum's does not."""
    def keys(display: object) -> Set[str]:
        return {*(shown.key for shown in display.progress), *(panel.key for panel in display.panels),
                *(f"eval/{shown.key}" for shown in display.evaluation)}
    alone = keys(QuadrupedFlat.display) - keys(DoublePendulum.display)
    assert len(alone) > 3
    return alone
