"""Studies of a user's own task, of which nothing but the contract of TensorEnv is assumed.

In several processes they are in test_tune_workers.py, a benchmark in test_bench.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import List

import pytest

from sb3_isaac.cli.main import main
from sb3_isaac.contract import names


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(names, "_ALLOWED", set(names._ALLOWED))


def tune(*study: str) -> int:
    """Give ``sb3-isaac tune`` for this study; its exit code."""
    return main(["tune", "--gym-packages", "hold_tasks", "--num-envs", "8", "-n", "576", "--n-evaluations", "3",
                 "--n-trials", "2", "--eval-episodes", "2", "--final-top", "0", "--seed", "1", *study])


def values(name: str) -> List[float]:
    """The values of a study's trials, in the order in which they ended."""
    entries = [json.loads(line) for line in Path("logs", "tuning", name, "study.log").read_text().splitlines()]
    return [entry["values"][0] for entry in entries if entry.get("values")]


def test_a_task_without_a_stop_rule_is_judged_by_its_reward(capsys: pytest.CaptureFixture[str]) -> None:
    """The shipped settings and the shipped space."""
    assert tune("--env", "Hold-v0") == 0
    found = values("ppo-Hold-v0")
    assert found and all(-10.0 < value < 10.0 for value in found), "the reward of ten steps"
    assert Path("logs", "tuning", "ppo-Hold-v0", "best.yml").exists()
    capsys.readouterr()
    for study, said in ((["Hold-v0", "--objective", "steps", "--study-name", "steps"],
                         "stop rule, which Hold-v0 does not have"), (["Hald-v0"], "did you mean 'Hold-v0'")):
        assert tune("--env", *study) == 2
        assert said in capsys.readouterr().err


def test_a_task_with_a_stop_rule_is_judged_by_it() -> None:
    assert tune("--env", "HoldWell-v0") == 0
    assert values("ppo-HoldWell-v0")[0] == 192, "5 is what standing still gets: met at the first evaluation"
