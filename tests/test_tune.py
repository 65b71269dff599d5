"""Studies on one worker: what a trial is worth, when it ends, and what comes out."""

from __future__ import annotations

import math
import re
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Tuple

import optuna
import pytest
import torch
import yaml
from optuna.trial import FrozenTrial, TrialState

from sb3_isaac.cli.main import main
from sb3_isaac.config import load_config
from sb3_isaac.contract.errors import UserError
from sb3_isaac.tasks.quadruped_flat import QuadrupedFlat
from sb3_isaac.tuning import Plan, open_study, tune
from sb3_isaac.tuning.final import Comparison, compare, queue, signed_rank_p
from sb3_isaac.tuning.goal import Goal, shortfall
from sb3_isaac.tuning.results import best_trial
from sb3_isaac.tuning.simulations import SimulationCache, TrialSimulations
from sb3_isaac.tuning.study import REASON, Quota, best_trials, make_pruner
from sb3_isaac.tuning.trial import Outcome, TrialEvaluation, run_trial

PENDULUM = "IsaacDoublePendulum-v0"
GAMMA = PENDULUM + ":\n  gamma: {kind: float, low: 0.9, high: 0.99}\n"


def plan(folder: Path, text: str = GAMMA, **changes: Any) -> Plan:
    """A study of the pendulum whose trial is 4 rollouts of 8 pendulums x 16 steps."""
    (folder / "space.yml").write_text(text)
    small: Dict[str, Any] = {
        "env": PENDULUM, "num_envs": 8, "hyperparams": {"n_minibatches": 2, "n_epochs": 1}, "n_timesteps": 512,
        "n_evaluations": 4, "eval_episodes": 2, "n_trials": 3, "space": str(folder / "space.yml"), "final_top": 0,
        "env_kwargs": {"episode_length_s": 0.4}, "log_folder": str(folder), "max_falls": 1.0,
        "objective": "reward"}
    return Plan(**{**small, **changes})


# ---- what a trial is worth

def report(reward: float, speed: float, falls: float, steps: int = 300) -> Dict[str, Any]:
    return {"reward_mean": reward, "forward_speed_mean": speed, "falls_fraction": falls, "steps": steps}


@dataclass(frozen=True)
class Rule:
    """A stop rule as tasks have it."""

    ranges: Mapping[str, Tuple[float, float]]

    def met(self, values: Mapping[str, Any]) -> bool:
        return all(key in values and low <= values[key] <= high for key, (low, high) in self.ranges.items())


RULE = Rule({"reward_mean": (300.0, math.inf), "forward_speed_mean": (0.95, 1.05), "falls_fraction": (0.0, 0.01)})


def test_the_worth_of_a_trial_by_hand() -> None:
    goal = Goal(steps=True, budget=1000, interval=100, rule=RULE)
    assert goal.worth(report(301.0, 1.0, 0.0)) == 300 and goal.met(report(301.0, 1.0, 0.0))
    # 150 of 300 lack, 0.19 of max(1, 0.95) m/s, and nothing by falls: (0.5 + 0.19 + 0) / 3.
    assert shortfall(RULE, report(150.0, 0.76, 0.01)) == pytest.approx(0.69 / 3)
    assert goal.worth(report(150.0, 0.76, 0.01)) == pytest.approx(1000 + 690 / 3)
    # Too fast counts as too slow does: 1.26 is 0.21 above 1.05.
    assert shortfall(RULE, report(400.0, 1.26, 0.01)) == pytest.approx(0.21 / 1.05 / 3)
    assert shortfall(RULE, report(400.0, 1.0, 0.51)) == pytest.approx(0.5 / 3)
    assert shortfall(RULE, report(-5.0, -1.0, 1.2)) == 1.0 and shortfall(RULE, report(400.0, 1.0, 0.0)) == 0.0
    assert Goal(steps=False, budget=1000, interval=100).worth(report(42.0, 0.0, 1.0)) == 42.0


def test_the_rule_is_the_tasks_own() -> None:
    """Any keys, also keys that a report lacks: each of those counts whole."""
    rule = Rule({"success": (0.9, 1.0), "energy_j": (-math.inf, 50.0)})
    assert shortfall(rule, {"success": 0.65, "energy_j": 40.0}) == pytest.approx(0.125)
    assert shortfall(rule, {"success": 1.0, "energy_j": 75.0}) == pytest.approx(0.25)
    assert shortfall(rule, {"success": 1.0}) == 0.5 and shortfall(rule, {"success": math.nan, "energy_j": 0}) == 0.5
    goal = Goal(steps=True, budget=100, interval=10, rule=rule)
    assert goal.worth({"success": 0.95, "energy_j": 1.0, "steps": 30}) == 30
    shown = goal.figures({"reward_mean": 1.0, "success": 0.9, "length_mean": 3.0})
    assert shown == {"reward_mean": 1.0, "success": 0.9}, "what the rule speaks of, as far as it is reported"


class _Model:
    """What a TrialEvaluation reads of a model: its transitions and its parameters."""

    def __init__(self) -> None:
        self.num_timesteps, self.policy = 0, torch.nn.Linear(1, 1)


def evaluated(goal: Goal, rollouts: List[int], reports: Dict[int, Dict[str, Any]]) -> Any:
    """A TrialEvaluation after rollouts that end at these transitions; full and short evaluations see `reports`."""
    told: List[Any] = []
    model, outcome = _Model(), Outcome()
    evaluation = TrialEvaluation(goal, outcome, lambda m, divisor: {**reports[m.num_timesteps], "divisor": divisor},
                            lambda steps, worth, last: told.append((steps, worth, last)))
    evaluation.model = model  # type: ignore[assignment]
    for steps in rollouts:
        model.num_timesteps = steps
        evaluation._on_rollout_start()
    return evaluation, outcome, told


def test_reports_come_at_equal_steps_whatever_a_rollout_is() -> None:
    goal = Goal(steps=False, budget=1000, interval=250)
    standing = {steps: report(10.0, 0.0, 0.0, steps) for steps in range(0, 1200)}
    for rollouts in ([0, 128, 256, 384, 512, 640, 768, 896, 1024], [0, 200, 400, 600, 800, 1000]):
        _, outcome, told = evaluated(goal, rollouts, standing)
        assert [(steps, last) for steps, _, last in told] == [(250, False), (500, False), (750, False), (1000, True)]
        assert outcome.value == 10.0


def test_a_short_evaluation_meets_no_rule() -> None:
    goal = Goal(steps=True, budget=1000, interval=250, rule=RULE)
    slow, quick = report(280.0, 0.93, 0.0, 250), report(320.0, 1.0, 0.0, 500)
    evaluation, outcome, told = evaluated(goal, [0, 250, 500, 750], {250: slow, 500: quick, 750: quick})
    assert outcome.report["divisor"] == 1, "a promising one is followed by a full evaluation"
    assert told[0][0] == 250 and 1000 < told[0][1] < 1050 and outcome.value == 500
    assert not evaluation._on_step(), "the rule is met: training ends"
    assert [t[0] for t in told] == [250, 500], "and nothing is evaluated after that"


# ---- the simulator is built once

def test_a_trial_finds_the_simulation_as_good_as_new() -> None:
    """Whatever ran before on the same robots, with whatever reward, a trial comes to the same end."""
    study = Plan(num_envs=8, hyperparams={"n_steps": 8, "n_minibatches": 1}, env_kwargs={"episode_length_s": 0.4,
                                                                                       "threads": 1})
    base = study.config()
    goal = Goal(steps=True, budget=128, interval=64, rule=study.stop_rule)

    def run(simulations: TrialSimulations, values: Dict[str, Any]) -> Dict[str, Any]:
        outcome = Outcome()
        run_trial(study.config(values), goal, simulations, lambda *_: None, outcome)
        return {"value": outcome.value, **outcome.report}

    other = {"env_kwargs.reward.action_rate": 0.0, "env_kwargs.command.forward_m_s": [1.0, 1.1], "gamma": 0.9}
    simulations = TrialSimulations(base, 2)
    first, after = run(simulations, {}), run(simulations, other)
    assert run(simulations, {}) == first != after
    assert (simulations.training.built, simulations.evaluation.built) == (1, 1)
    alone = TrialSimulations(base, 2)
    assert run(alone, other) == after
    run(alone, {"env_kwargs.physics_dt": 0.005})
    assert alone.training.built == 2, "other physics are another simulation"
    alone.close()
    simulations.close()


def test_soft_options_are_what_the_constructor_would_have_made() -> None:
    cache = SimulationCache()
    env = cache.get("IsaacQuadrupedFlat-v0", 2, {"reward": {"trot": 0.0}, "threads": 1})
    assert env.env.options()["reward"]["trot"] == 0.0
    same = cache.get("IsaacQuadrupedFlat-v0", 2, {"command": {"forward_m_s": 0.5}, "threads": 1})
    assert same is env and env.env.options()["reward"]["trot"] == QuadrupedFlat.REWARD["trot"].weight
    env.seed(0)
    env.reset()
    assert (env.env.command[:, 0] == 0.5).all() and cache.built == 1  # type: ignore[attr-defined]
    cache.close()


def test_a_trial_cannot_win_by_paying_itself_more() -> None:
    study = Plan(num_envs=8, hyperparams={"n_steps": 8, "n_minibatches": 1},
                 env_kwargs={"episode_length_s": 0.4, "threads": 1})
    simulations, values = TrialSimulations(study.config(), 2), []
    for weight in (0.5, 50.0):
        config, outcome = study.config({"env_kwargs.reward.forward_velocity": weight}), Outcome()
        run_trial(config, Goal(steps=False, budget=64, interval=64), simulations, lambda *_: None, outcome)
        assert simulations.training.built == 1
        values.append(outcome.value)
    assert values[1] < 3 * values[0]
    simulations.close()


# ---- studies

def test_a_study_and_what_comes_out(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    this = plan(tmp_path, final_top=1, final_seeds=2, n_trials=4)
    folder = tune(this)
    study = open_study(this)
    trials = study.trials
    assert len(trials) == 4 and trials[0].params == {"gamma": 0.98}, "the first trial is the shipped YAML"
    assert len({t.params["gamma"] for t in trials}) == 4
    for trial in trials:
        assert set(trial.intermediate_values) <= {128, 256, 384, 512}
        assert trial.user_attrs["seconds"]["all"] > 0 and trial.user_attrs["steps"] == 512
    best = best_trials(study, 1)[0]
    assert best.value == max(t.value for t in trials if t.state == TrialState.COMPLETE)
    # best.yml is a YAML for train, and what the trial ran with.
    config = load_config(PENDULUM, "ppo", path=folder / "best.yml", algo_keys=["n_steps", "n_epochs", "batch_size",
                         "learning_rate", "gamma", "policy_kwargs"], env_keys=["episode_length_s"])
    assert config.n_envs == 8 and config.minibatches == 2 and config.n_timesteps == 512 and config.seed is None
    winner = best_trial(study, [])
    assert winner is not None and config.algo_kwargs["gamma"] == pytest.approx(winner.params["gamma"])
    assert main(["train", "--env", PENDULUM, "-conf", str(folder / "best.yml"), "-f", str(tmp_path), "-n", "128",
                 "--eval-freq", "-1", "--eval-episodes", "2"]) == 0
    page = (folder / "report.html").read_text()
    assert not re.search(r"<script|<link|<img[^>]+src='(?!data:)", page), "no network"
    assert page.count("<img ") >= 5 and len(page) < 2e6
    assert "mean reward of an evaluation" in page and f"-conf {folder / 'best.yml'}" in page
    for title in ("History", "Importance", "Slices", "Timeline"):
        assert f"<h2>{title}</h2>" in page
    for name in ("history", "importance", "slices", "timeline"):
        assert (folder / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
    said = capsys.readouterr().out
    assert "Beyond training:" in said and "4 trials in " in said
    if best.number != 0:
        assert "over 2 paired seeds, p = " in said and "cannot go below 0.250" in said
        assert (folder / "final.png").exists() and "Final stage" in page


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> List[FrozenTrial]:
    """Those of a study of learning rates that are right, that ruin a policy at the first update, and that are no
    numbers after it; seed 12 draws the second kind last."""
    space = PENDULUM + ":\n  learning_rate: {kind: categorical, choices: [0.001, 0.0011, 0.0012, 10.0, 1.0e+20]}\n"
    this = plan(tmp_path_factory.mktemp("study"), space, n_trials=9, n_startup_trials=9, eval_episodes=4, seed=12,
                env_kwargs={"episode_length_s": 1.0})
    tune(this)
    found = open_study(this).trials
    assert len(found) == 9
    return found


def test_a_pruned_trial_stops_within_one_report(trials: List[FrozenTrial]) -> None:
    """The median of the others is better."""
    pruned = [t for t in trials if t.state == TrialState.PRUNED]
    assert pruned and all(t.user_attrs["steps"] == max(t.intermediate_values) < 512 for t in pruned)
    completed = [t for t in trials if t.state == TrialState.COMPLETE]
    assert all(t.user_attrs["steps"] == 512 for t in completed)
    assert len(completed) >= 5, "nothing is pruned before five trials can be compared with"


def test_a_diverged_trial_is_failed_with_its_reason(trials: List[FrozenTrial]) -> None:
    failed = [t for t in trials if t.params["learning_rate"] > 1e19]
    assert failed and {t.state for t in failed} == {TrialState.FAIL}
    assert all("not finite" in t.user_attrs[REASON] or "nan" in t.user_attrs[REASON].lower() for t in failed)
    assert {t.state for t in trials if t.params["learning_rate"] < 1e19} <= {TrialState.COMPLETE, TrialState.PRUNED}


def test_an_interrupted_study_goes_on_with_the_same_line(tmp_path: Path) -> None:
    this = plan(tmp_path, max_total_trials=1, n_timesteps=128 * 15, n_evaluations=5)

    def interrupt_after_a_report() -> None:
        journal = this.folder / "study.log"
        while not journal.exists() or '"intermediate_value"' not in journal.read_text():
            time.sleep(0.02)
        signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    watcher = threading.Thread(target=interrupt_after_a_report)
    watcher.start()
    with pytest.raises(KeyboardInterrupt):
        tune(this)
    watcher.join()
    signal.signal(signal.SIGINT, before)
    trials = open_study(this).trials
    assert [t.state for t in trials] == [TrialState.FAIL, TrialState.WAITING]
    tune(this)
    trials = open_study(this).trials
    assert [t.state for t in trials] == [TrialState.FAIL, TrialState.COMPLETE], "it counted for nothing"
    assert trials[1].params == trials[0].params and trials[1].user_attrs["steps"] == 128 * 15


def test_a_study_is_made_once_and_counted_exactly() -> None:
    study = optuna.create_study()
    quota, mine = Quota(2), Quota(1, "me")
    for runner in ("me", "you"):
        trial = study.ask()
        trial.set_user_attr("runner", runner)
    trials = study.trials
    assert not quota.open(trials) and not quota.met(trials) and not mine.open(trials)
    extra = study.ask()
    assert quota.surplus(study.trials, extra.number) and not quota.surplus(study.trials, 1)
    study.tell(0, 1.0)
    assert mine.met(study.trials) and not quota.met(study.trials)
    study.tell(1, state=TrialState.FAIL)
    study.tell(2, state=TrialState.FAIL)
    assert quota.open(study.trials), "a trial whose worker is gone has failed without a reason"


def test_another_study_of_the_same_name_is_refused(tmp_path: Path) -> None:
    tune(plan(tmp_path, n_trials=1))
    for changes, words in (({"n_timesteps": 1024}, "another n_timesteps, 512 there and 1024 here"),
                           ({"hyperparams": {"n_minibatches": 4}}, "another starting YAML"),
                           ({"text": GAMMA.replace("0.9,", "0.8,")}, "another search space"),
                           ({"algo": "sb3-ppo", "study_name": f"ppo-{PENDULUM}"}, "belongs to another task, ppo on")):
        with pytest.raises(UserError, match=words):
            tune(plan(tmp_path, n_trials=1, **changes))
    study = open_study(plan(tmp_path))
    assert len(study.trials) == 1, "nothing was run"
    optuna.create_study(storage=study._storage, study_name="down", direction="minimize")
    with pytest.raises(UserError, match="directions minimize and this one maximize"):
        tune(plan(tmp_path, study_name="down", storage=plan(tmp_path).storage_name))


@pytest.mark.parametrize(("changes", "words"), [
    ({"n_evaluations": 9}, "9 evaluations in 512 transitions are more than its rollouts of 128"),
    ({"sampler": "tpee"}, "did you mean 'tpe'"),
    ({"env_kwargs": {"episode_length_s": -1.0}}, "^episode_length_s is -1.0"),
    ({"hyperparams": {"symmetry": "yes"}}, "^ppo cannot be made from .* symmetry 'yes'"),
    ({"n_jobs": 0}, "n_jobs is 0"),
    ({"storage": "/nowhere/study.log"}, "cannot be written"),
    ({"log_folder": "/proc/x"}, "cannot make the study's folder"),
])
def test_a_wrong_plan_is_one_sentence_before_any_trial(changes: Dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        tune(plan(tmp_path, **changes))


def test_flags_reach_the_study(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "space.yml").write_text(GAMMA)
    line = ["tune", "--env", PENDULUM, "--num-envs", "8", "-n", "256", "--n-evaluations", "2", "--n-trials", "1",
            "--eval-episodes", "2", "--space", str(tmp_path / "space.yml"), "--env-kwargs", "episode_length_s:0.4",
            "-params", "n_minibatches:2", "-f", str(tmp_path), "--sampler", "random", "--pruner", "hyperband",
            "--study-name", "mine", "--storage", f"sqlite:///{tmp_path}/mine.db", "--max-falls", "1.0"]
    assert main(line) == 0
    assert main([*line, "--max-total-trials", "2"]) == 0
    folder = tmp_path / "tuning" / "mine"
    assert (folder / "best.yml").exists() and not (folder / "study.log").exists()
    capsys.readouterr()
    assert main([*line, "--trial-id", "1"]) == 0
    assert "-conf" in capsys.readouterr().out and "gamma" in yaml.safe_load(
        (folder / "trial_1.yml").read_text())[PENDULUM]
    assert main([*line, "--trial-id", "7"]) == 2
    assert "it has 2 trials" in capsys.readouterr().err


# ---- pruners and the final stage by arithmetic

def test_the_median_pruner_waits_for_a_third() -> None:
    study = optuna.create_study(direction="maximize", pruner=make_pruner("median", 900, 100, 0))
    for _ in range(2):
        trial = study.ask()
        for steps in range(100, 1000, 100):
            trial.report(1.0, steps)
        study.tell(trial, 1.0)
    trial = study.ask()
    verdicts = []
    for steps in (100, 200, 300):
        trial.report(0.0, steps)
        verdicts.append(trial.should_prune())
    assert verdicts == [False, False, True]


@pytest.mark.parametrize(("gains", "p"), [
    ([3.0, 1.0, 2.0, 5.0, 4.0], 1 / 32),  # all five up: one of the 2^5 ways
    ([3.0, -1.0, 2.0, 5.0, 4.0], 2 / 32),  # sums of 14 and of 15
    ([-1.0, -2.0, -3.0], 1.0),
    ([1.0, 1.0, -1.0], 4 / 8),  # equal sizes share rank 2: at least two of three up
    ([0.0, 0.0], 1.0),
])
def test_wilcoxons_p_by_hand(gains: List[float], p: float) -> None:
    assert signed_rank_p(gains) == pytest.approx(p)


def test_the_final_stage_pairs_by_seed() -> None:
    study = optuna.create_study(direction="minimize")
    for params, _ in queue(["shipped", "trial 3"], range(5)):
        study.enqueue_trial(params)
    for seed in range(5):
        for better in (0.0, 10.0):
            trial = study.ask()
            name = trial.suggest_categorical("candidate", ["shipped", "trial 3"])
            assert trial.suggest_int("seed", 0, 4) == seed and (name == "trial 3") == (better == 10.0)
            if seed != 4 or better:  # one run of the shipped YAML is missing
                study.tell(trial, 100.0 + seed - better * (1 + seed))
    found = compare(study.trials, ["shipped", "trial 3"], "minimize")
    ours, theirs = (90.0, 81.0, 72.0, 63.0), (100.0, 101.0, 102.0, 103.0)
    assert found == [Comparison("trial 3", (0, 1, 2, 3), ours, theirs, 1 / 16)]
    assert not found[0].better and "is not shown to beat" in found[0].sentence("steps")
