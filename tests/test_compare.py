"""Figures of several seeds worked by hand, and two groups of runs beside each other."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Dict, Sequence

import numpy as np
import pytest

from sb3_isaac.cli.main import main
from sb3_isaac.view.compare import compare, steps_to_goal
from sb3_isaac.view.plot import grouped, on_common_steps, read_run
from sb3_isaac.view.seeds import band, difference, estimate, interquartile_mean, probability_above

GOAL = {"eval/reward_mean": [300.0, None], "eval/speed": [0.9, 1.1]}


def write_run(folder: Path, rewards: Sequence[float], speed: float = 1.0, env: str = "Walk-v0") -> Path:
    """A run with an evaluation every 100 steps."""
    folder.mkdir()
    lines = ["step,time/time_elapsed,rollout/ep_rew_mean,eval/steps,eval/reward_mean,eval/speed"]
    lines += [f"{100 * (i + 1)},{i + 1},{r - 10},{100 * (i + 1)},{r},{speed}" for i, r in enumerate(rewards)]
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    meta: Dict[str, object] = {"env": env, "algo": "ppo", "stop_rule": GOAL, "panels": [["eval/speed", "speed, m/s"]]}
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder


def test_the_interquartile_mean_leaves_out_a_quarter_at_each_end() -> None:
    assert interquartile_mean([100.0, 1.0, 2.0, 3.0]) == 2.5
    assert interquartile_mean([0.0, 1.0, 5.0]) == 2.0, "of three, the mean"
    assert interquartile_mean(np.array([[1.0, 9.0], [2.0, 8.0]]), axis=0).tolist() == [1.5, 8.5]


def test_intervals() -> None:
    one = estimate([4.0])
    assert one.mean == 4.0 and math.isnan(one.low) and math.isnan(one.high)
    assert all(math.isnan(x) for x in estimate([]))
    values = list(np.random.default_rng(0).normal(10.0, 1.0, 40))
    sure = estimate(values)
    assert sure.low < sure.mean < sure.high and sure.high - sure.low < 1.5
    assert estimate(values) == sure, "the same numbers each time"
    assert abs(difference(values, [v + 3.0 for v in values]).mean - 3.0) < 1e-9
    low, mean, high = band(np.array([[1.0, 5.0], [3.0, 5.0]]))
    assert mean.tolist() == [2.0, 5.0] and low.tolist() == [1.0, 5.0] and high.tolist() == [3.0, 5.0]


def test_the_probability_counts_pairs() -> None:
    assert probability_above([1.0, 2.0], [2.0, 3.0]) == (1 + 0.5 + 1 + 1) / 4
    assert math.isnan(probability_above([], [1.0]))


def test_a_run_that_stopped_keeps_its_last_value() -> None:
    steps, table = on_common_steps([(np.array([10.0, 20.0]), np.array([0.0, 4.0])),
                                    (np.array([10.0, 30.0]), np.array([0.0, 2.0]))])
    assert steps[0] == 10 and steps[-1] == 30 and table[:, -1].tolist() == [4.0, 2.0]
    assert table[0][np.searchsorted(steps, 15.0)] == pytest.approx(2.0, abs=0.05)


def test_groups_of_runs(tmp_path: Path) -> None:
    first = [read_run(write_run(tmp_path / f"a{i}", [100, 310 + i, 320])) for i in range(2)]
    second = [read_run(write_run(tmp_path / "b0", [100, 200, 350])),
              read_run(write_run(tmp_path / "b1", [400, 500, 600], speed=0.5))]
    rows = {row.name: row for row in compare(first, second)}
    assert rows["steps to the goal"].values == ([200.0, 200.0], [300.0]), "the fourth run is too slow"
    assert rows["reward_mean"].values == ([320.0, 320.0], [350.0, 600.0])
    assert rows["reward_mean"].probability_above == 1.0 and rows["speed"].second.mean == 0.75
    assert steps_to_goal(first[0], {**GOAL, "eval/other": [0.0, 1.0]}) is None, "an evaluation that lacks a key"
    assert steps_to_goal(first[0], {**GOAL, "rollout/ep_rew_mean": [305.0, None]}) == 300.0, "310 - 10 is not enough"


def test_labels_are_sorted_as_people_count(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "a", [1.0]))
    groups = grouped([run] * 4, ["seed_10", "seed_2", "b", "seed_2"])
    assert list(groups) == ["b", "seed_2", "seed_10"] and len(groups["seed_2"]) == 2


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    runs = [str(write_run(tmp_path / f"r{i}", [100.0 + i, 310.0 + i])) for i in range(4)]
    assert main(["compare", *runs[:2], "--with", *runs[2:], "--labels", "old <1>", "new", "--json"]) == 0
    assert {row["name"] for row in json.loads(capsys.readouterr().out)} >= {"steps to the goal", "reward_mean", "speed"}
    text = (tmp_path / "r0" / "compare.html").read_text()
    assert "data:image/png;base64," in text and "old &lt;1&gt;" in text and "http" not in text
    assert main(["compare", runs[0], "--with", runs[1]]) == 0
    assert "steps to the goal" in capsys.readouterr().out
    assert main(["plot", *runs, "--labels", "a", "a", "b", "b", "--out", str(tmp_path / "c.png")]) == 0
    assert (tmp_path / "c.png").read_bytes()[:4] == b"\x89PNG"


def test_what_cannot_be_compared(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    walk, swim = write_run(tmp_path / "walk", [1.0]), write_run(tmp_path / "swim", [1.0], env="Swim-v0")
    assert main(["compare", str(walk), "--with", str(swim)]) == 2
    assert "Walk-v0" in capsys.readouterr().err
    assert main(["compare", str(walk), "--with", str(tmp_path)]) == 2
    assert "metrics.csv" in capsys.readouterr().err
    assert main(["compare", str(walk), "--with", str(walk), "--labels", "x", "x"]) == 2
    assert "two names" in capsys.readouterr().err
