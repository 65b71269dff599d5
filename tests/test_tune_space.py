"""Search spaces: what a file may say, what a trial draws, and that the shipped ones fit the shipped YAML."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Dict

import optuna
import pytest

from sb3_isaac.contract.errors import UserError
from sb3_isaac.tuning import Plan, Space, read_space, sample
from sb3_isaac.tuning.space import FOLDER, nested

QUADRUPED, PENDULUM = "IsaacQuadrupedFlat-v0", "IsaacDoublePendulum-v0"
SPACE = """
default:
  gamma: {kind: float, low: 0.9, high: 0.99}
  learning_rate: {kind: float, low: 1e-4, high: 1e-2, log: true}
  n_steps: {kind: categorical, choices: [16, 32]}
  n_minibatches: {kind: int, low: 2, high: 8, log: true}
  policy_kwargs.net_arch: {kind: categorical, choices: [[64, 64], {pi: [32], vf: [64]}]}
  policy_kwargs.log_std_init: {kind: float, low: -2, high: 0, condition: {n_steps: 32}}
"""


def read(folder: Path, text: str) -> Any:
    (folder / "space.yml").write_text(text)
    return read_space(PENDULUM, "ppo", str(folder / "space.yml"))


def fixed(**values: Any) -> optuna.trial.FixedTrial:
    return optuna.trial.FixedTrial({key.replace("__", "."): value for key, value in values.items()})


def test_a_draw_is_an_entry_of_rl_zoos_yaml(tmp_path: Path) -> None:
    space = read(tmp_path, SPACE)
    drawn = sample(space, fixed(gamma=0.95, learning_rate=1e-3, n_steps=32, n_minibatches=3,
                                policy_kwargs__net_arch="[64, 64]", policy_kwargs__log_std_init=-1.0),
                   n_envs=10, n_steps=24, base={"policy_kwargs": {"activation_fn": "nn.ELU"}, "gamma": 0.5})
    # 10 environments of 32 steps are 320 transitions: 3 minibatches of at most 107.
    assert drawn == {"gamma": 0.95, "learning_rate": 1e-3, "n_steps": 32, "batch_size": 107, "policy_kwargs": {
        "activation_fn": "nn.ELU", "net_arch": [64, 64], "log_std_init": -1.0}}


def test_a_condition_decides_what_is_drawn(tmp_path: Path) -> None:
    space = read(tmp_path, SPACE)
    trials = [optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed)).ask() for seed in range(8)]
    drawn = [space.draw(trial) for trial in trials]
    assert {d["n_steps"] for d in drawn} == {16, 32}
    for values in drawn:
        assert ("policy_kwargs.log_std_init" in values) == (values["n_steps"] == 32)
        assert values["policy_kwargs.net_arch"] in ([64, 64], {"pi": [32], "vf": [64]})
        assert 1e-4 <= values["learning_rate"] <= 1e-2 and values["n_minibatches"] in range(2, 9)


def test_nested_keys_leave_the_base_alone() -> None:
    base: Dict[str, Any] = {"env_kwargs": {"reward": {"energy": -1.0}}}
    made = nested({"env_kwargs.reward.trot": 0.1, "gamma": 0.9}, base)
    assert made == {"env_kwargs": {"reward": {"energy": -1.0, "trot": 0.1}}, "gamma": 0.9}
    assert base == {"env_kwargs": {"reward": {"energy": -1.0}}}


@pytest.mark.parametrize(("line", "words"), [
    ("gamma: {kind: float, low: 0.99, high: 0.9}", ["gamma", "low 0.99 above high 0.9"]),
    ("gamma: {kind: float, low: 0, high: 0.9, log: true}", ["gamma", "above 0"]),
    ("n_epochs: {kind: int, low: 0, high: 4, log: true}", ["n_epochs", "above 0"]),
    ("n_epochs: {kind: int, low: 0.5, high: 4}", ["0.5", "whole number"]),
    ("gamma: {kind: float, low: 0.9}", ["gamma", "high None"]),
    ("gamma: {kind: flaot, low: 0.9, high: 1.0}", ["'flaot'", "float, int, categorical"]),
    ("gamma: {kind: float, low: 0.9, hihg: 1.0}", ["'hihg'", "did you mean 'high'"]),
    ("gamma: {kind: float, low: 0.9, high: 1.0, choices: [1]}", ["choices", "categorical"]),
    ("gamma: {kind: categorical, choices: []}", ["gamma", "at least one"]),
    ("gamma: {kind: categorical, choices: [0.9, 0.9]}", ["twice"]),
    ("gamma: {kind: categorical, choices: [0.9], low: 0.5}", ["low"]),
    ("batch_size: {kind: int, low: 8, high: 64}", ["n_minibatches"]),
    ("n_minibatches: {kind: categorical, choices: 1}", ["choices 1", "list"]),
    ("n_minibatches: {kind: categorical, choices: .inf}", ["choices inf", "list"]),
    ("n_minibatches: {kind: int, low: 0, high: 4}", ["whole numbers of at least 1"]),
    ("n_minibatches: {kind: float, low: 1, high: 4}", ["whole numbers of at least 1"]),
    ("n_minibatches: {kind: categorical, choices: [2, true]}", ["whole numbers of at least 1"]),
    ("gamma: {kind: float, low: 0.9, high: 1.0, condition: {n_epochs: 3}}", ["'n_epochs'", "below"]),
    ("gamma: 0.9", ["gamma", "mapping"]),
])
def test_a_wrong_space_is_one_sentence(line: str, words: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        read(tmp_path, f"{PENDULUM}:\n  {line}\n")
    text = str(error.value)
    assert "\n" not in text and text.endswith(".") and "space.yml" in text
    assert all(word in text for word in words), text


@pytest.mark.parametrize(("line", "words"), [
    ("gama: {kind: float, low: 0.9, high: 0.99}", ["gama", "did you mean 'gamma'"]),
    ("policy_kwargs.net_arhc: {kind: categorical, choices: [[64]]}", ["net_arhc"]),
    ("gamma: {kind: float, low: 0.9, high: 1.5}", ["gamma", "1.5", "from 0 to 1"]),
    ("env_kwargs.episode_lenght_s: {kind: float, low: 1, high: 2}", ["'episode_length_s'"]),
])
def test_what_neither_algorithm_nor_task_has_is_refused(line: str, words: Any, tmp_path: Path) -> None:
    space = read(tmp_path, f"{PENDULUM}:\n  {line}\n")
    with pytest.raises(UserError) as error:
        Plan(env=PENDULUM, num_envs=8).check_space(space)
    assert all(word in str(error.value) for word in words), error.value


def test_a_reward_term_that_the_robot_does_not_have(tmp_path: Path) -> None:
    (tmp_path / "space.yml").write_text(f"{QUADRUPED}:\n  env_kwargs.reward.enrgy: {{kind: float, low: 0, high: 1}}\n")
    space = read_space(QUADRUPED, "ppo", str(tmp_path / "space.yml"))
    with pytest.raises(UserError, match=r"enrgy.*did you mean 'energy'"):
        Plan().check_space(space)


@pytest.mark.parametrize("algo", sorted(file.stem for file in FOLDER.glob("*.yml")))
@pytest.mark.parametrize("env", [QUADRUPED, PENDULUM])
def test_shipped_spaces_fit_the_shipped_yaml(algo: str, env: str) -> None:
    """Every border can be trained with, and the shipped values lie within: they are the first trial."""
    plan = Plan(env=env, algo=algo)
    space, base = plan.search_space(), plan.config()
    plan.check_space(space)
    shipped = plan.shipped(base, space)
    assert set(shipped) == {parameter.name for parameter in space.parameters}
    drawn = space.draw(optuna.trial.FixedTrial(shipped))
    again = plan.config(drawn)
    assert again.minibatches == base.minibatches and again.algo_kwargs["gamma"] == base.algo_kwargs["gamma"]


@pytest.mark.parametrize("num_envs", [1, 64, 256, 1000])
@pytest.mark.parametrize("algo", ["ppo", "sb3-ppo", "trpo"])
def test_the_shipped_values_lie_within_at_any_number_of_environments(algo: str, num_envs: int) -> None:
    plan = Plan(algo=algo, num_envs=num_envs)
    expected = {"ppo": 4, "sb3-ppo": 4, "trpo": 6}[algo]
    assert plan.shipped(plan.config(), plan.search_space())["n_minibatches"] == expected


@pytest.mark.parametrize("algo", ["ppo", "trpo"])
def test_what_is_drawn_is_what_runs(algo: str, tmp_path: Path) -> None:
    """Whatever the YAML and the flags say of the same thing, by the same name or another."""
    (tmp_path / "more.yml").write_text(f"{QUADRUPED}:\n  n_envs: {{kind: categorical, choices: [16, 32]}}\n"
                                       "  env_kwargs.command.yaw_rad_s: {kind: categorical, choices: [0.0, [0, 1]]}\n")
    given = {"n_minibatches": 6, "gamma": 0.5, "policy_kwargs.log_std_init": 0.0}
    plan = Plan(algo=algo, num_envs=64, hyperparams=given, env_kwargs={"reward.trot": 0.1, "reward": {"energy": -1.0}})
    for space in (plan.search_space(), read_space(QUADRUPED, algo, str(tmp_path / "more.yml"))):
        for parameter in space.parameters:
            alone = Space((replace(parameter, condition=()),), space.source)
            for value in parameter.probes():
                config = plan.config({parameter.name: value})
                if parameter.name.endswith("yaw_rad_s"):
                    assert config.env_kwargs["command"]["yaw_rad_s"] == value
                else:
                    assert plan.shipped(config, alone) == {parameter.name: parameter.encode(value, "")}


def test_a_shipped_value_outside_the_space_is_told(tmp_path: Path) -> None:
    space = read(tmp_path, f"{PENDULUM}:\n  gamma: {{kind: float, low: 0.5, high: 0.6}}\n")
    plan = Plan(env=PENDULUM)
    with pytest.raises(UserError, match=r"gamma is 0\.98.*from 0\.5 to 0\.6"):
        plan.shipped(plan.config(), space)
