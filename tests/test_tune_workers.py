"""More than one worker: shares of the machine, and workers that are killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, List

from optuna.trial import TrialState

from sb3_isaac.contract.errors import UserError
from sb3_isaac.envs.registration import import_packages
from sb3_isaac.tuning import Plan, open_study, tune
from sb3_isaac.tuning.launch import shares, variables
from sb3_isaac.tuning.study import Quota

BUDGET = 128 * 40
"""Transitions of a trial."""
SPACE = "HoldBest-v0:\n  gamma: {kind: float, low: 0.9, high: 0.99}\n"


def plan(folder: Path, **changes: Any) -> Plan:
    """A study of a user's own task, whose stop rule nothing meets; it is known in this process from here on."""
    import_packages(["hold_tasks"])
    (folder / "space.yml").write_text(SPACE)
    return Plan(**{"env": "HoldBest-v0", "gym_packages": ("hold_tasks",), "num_envs": 8, "n_timesteps": BUDGET,
                   "n_evaluations": 6, "hyperparams": {"n_steps": 16, "n_minibatches": 2, "n_epochs": 1},
                   "eval_episodes": 2, "final_top": 0, "space": str(folder / "space.yml"), "log_folder": str(folder),
                   "pruner": "none", "sampler": "random", "heartbeat_s": 1, **changes})


def test_cores_are_shared_out() -> None:
    assert shares([0, 1, 2, 3], 2) == [[0, 1], [2, 3]]
    assert shares([4, 5, 6], 2) == [[4], [5]]
    assert shares([0, 1], 3) == [[0], [1], [0]], "with fewer cores than workers they take turns"


def test_each_worker_has_a_gpu_and_its_threads() -> None:
    made = [variables(index, 4, ["2", "5"], {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "x"}) for index in range(3)]
    assert [m["CUDA_VISIBLE_DEVICES"] for m in made] == ["2", "5", "2"]
    assert made[0]["OMP_NUM_THREADS"] == "1", "no more than were allowed"
    assert made[0]["MKL_NUM_THREADS"] == made[0]["OPENBLAS_NUM_THREADS"] == "4"
    assert "CUDA_VISIBLE_DEVICES" not in variables(0, 4, [], {})


def until(what: Any, seconds: float = 120.0) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError("it did not come to that")


def check(study: Any, wanted: int) -> None:
    """No trial lost, none run twice: each number of values was run to an end exactly once."""
    trials = study.get_trials(deepcopy=False)
    ended = [t for t in trials if t.state == TrialState.COMPLETE]
    gone = [t for t in trials if t.state == TrialState.FAIL]
    assert len(ended) == wanted and len(ended) + len(gone) == len(trials) and Quota(wanted).met(trials)
    assert all(BUDGET < t.values[0] <= 2 * BUDGET for t in ended)
    assert len({t.params["gamma"] for t in ended}) == wanted, "workers draw apart, and nothing was run again"
    for trial in gone:
        again = [t for t in trials if t.user_attrs.get("retry of") == trial.number]
        assert len(again) == 1 and trial.params.items() <= again[0].params.items()


def there(this: Plan) -> Any:
    """The study, or None while it is not there yet."""
    if not this.folder.exists():  # it is made when the study is
        return None
    try:
        return open_study(this)
    except UserError:
        return None


def kill_in_mid_trial(study: Any) -> int:
    """Kill a worker that has reported and is not done, once each of the two has a trial; its process."""
    def busy() -> Any:
        running = [t for t in study.get_trials(deepcopy=False) if t.state == TrialState.RUNNING]
        return len(running) == 2 and next((t for t in running if t.intermediate_values), None)

    process = int(until(busy).user_attrs["worker"].rsplit(":", 1)[1])
    os.kill(process, signal.SIGKILL)
    return process


def line(this: Plan, *more: str) -> List[str]:
    """The command line of `this`."""
    return [sys.executable, "-m", "sb3_isaac", "tune", "--gym-packages", "hold_tasks", "--env", this.env, "--num-envs",
            "8", "-n", str(this.n_timesteps), "--n-evaluations", "6", "-params", "n_steps:16", "n_minibatches:2",
            "n_epochs:1", "--eval-episodes", "2", "--final-top", "0", "--space", str(this.space), "-f",
            this.log_folder, "--pruner", "none", "--sampler", "random", "--heartbeat", "1", "--storage",
            str(this.storage), *more]


def test_killed_and_ended_workers_leave_a_study_that_goes_on(tmp_path: Path) -> None:
    """Two processes on a journal file: one is killed in mid-trial; then a cluster ends the job; then the same line.

    Each knows the user's task, a file of the current folder: at most its 10 and the rule's 9.9 are lacking, so a trial
    is worth its steps and as many again.
    """
    shutil.copy(Path(__file__).with_name("hold_tasks.py"), tmp_path)
    this = plan(tmp_path, max_total_trials=4, storage=str(tmp_path / "study.log"))
    first = subprocess.Popen(line(this, "--max-total-trials", "4", "--n-jobs", "2"), stdout=subprocess.DEVNULL,
                             stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    study = until(lambda: there(this))
    kill_in_mid_trial(study)
    until(lambda: any(t.user_attrs.get("retries") for t in study.get_trials(deepcopy=False)))
    first.terminate()
    _, said = first.communicate(timeout=120)
    assert first.returncode == 128 + signal.SIGTERM
    assert "was killed by signal 9" in said and "the same line goes on" in said
    states = [t.state for t in study.get_trials(deepcopy=False)]
    assert TrialState.RUNNING not in states and TrialState.WAITING in states
    tune(this)
    check(study, 4)
    assert (this.folder / "best.yml").exists() and (this.folder / "report.html").exists()
