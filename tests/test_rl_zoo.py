"""rl_zoo3 as it comes from PyPI trains, resumes, plays and tunes our environments, and others' as it always did."""

from __future__ import annotations

import argparse
import csv
import functools
import importlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict

import numpy as np
import pytest
import yaml
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecNormalize
from torch import nn

from sb3_isaac.config.files import read_entry, shipped
from sb3_isaac.contract.errors import UserError
from sb3_isaac.envs.vec_env import IsaacVecEnv

pytestmark = pytest.mark.skipif(importlib.util.find_spec("rl_zoo3") is None,
                                reason="rl_zoo3 is not installed: pip install rl_zoo3 pandas requests")
QUADRUPED, PENDULUM = "IsaacQuadrupedFlat-v0", "IsaacDoublePendulum-v0"


def zoo(verb: str, env_id: str, *args: str, cwd: Path) -> str:
    """What ``python -m rl_zoo3.<verb> --env <env_id> --gym-packages sb3_isaac ...`` prints."""
    command = [sys.executable, "-m", f"rl_zoo3.{verb}", "--algo", "ppo", "--env", env_id, "--gym-packages",
               "sb3_isaac", *args]
    out = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert out.returncode == 0, out.stdout + out.stderr
    return out.stdout


def zoo_here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: str, env_id: str, *args: str,
             cwd: Path) -> str:
    """The same in this process, with the plug in."""
    from sb3_isaac.rl_zoo import plug

    function = getattr(importlib.import_module(f"rl_zoo3.{verb}"), verb)
    plug()
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.chdir(cwd)
        patch.setattr(sys, "argv", [f"rl_zoo3.{verb}", "--algo", "ppo", "--env", env_id, "--gym-packages", "sb3_isaac",
                                    *args])
        function()
    return capsys.readouterr().out


def manager(env_id: str, folder: Path, **settings: Any) -> Any:
    """What rl_zoo3's train.py makes, with the plug in."""
    from rl_zoo3.exp_manager import ExperimentManager

    from sb3_isaac.rl_zoo import plug

    plug()
    plug()
    return ExperimentManager(argparse.Namespace(), "ppo", env_id, str(folder), **settings)


def test_train_resume_and_enjoy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                capsys: pytest.CaptureFixture[str]) -> None:
    short = ["--env-kwargs", "episode_length_s:0.4", "threads:1"]
    few = ["-params", "n_envs:8", "n_minibatches:2", *short, "-n", "576", "--seed", "1"]
    out = zoo("train", QUADRUPED, *few, "--eval-freq", "192", "--save-freq", "384", "--n-eval-envs", "4",
              "--eval-episodes", "8", cwd=tmp_path)
    assert "sb3-ppo.yml" in out, "the shipped settings, without -conf"
    run = tmp_path / "logs" / "ppo" / f"{QUADRUPED}_1"
    assert {"rl_model_384_steps.zip", "best_model.zip", f"{QUADRUPED}.zip"} <= {p.name for p in run.iterdir()}
    evaluations = np.load(run / "evaluations.npz")
    assert evaluations["timesteps"].tolist() == [192, 384, 576] and (evaluations["ep_lengths"] <= 20).all()
    assert (evaluations["ep_lengths"] == 20).any(), "an episode that is scored is a whole one"
    with (run / "0.monitor.csv").open() as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    assert len(rows) >= 8 * 3, "576 steps of 8 robots hold three episodes of 20 steps each, and parts"
    assert {int(row["l"]) for row in rows} != {20}, "in training the first episodes are staggered"
    model = PPO.load(run / f"{QUADRUPED}.zip")
    assert (model.n_steps, model.batch_size, model.num_timesteps) == (24, 96, 576)
    assert isinstance(model.policy.mlp_extractor.policy_net[1], nn.ELU)

    here = functools.partial(zoo_here, monkeypatch, capsys)
    out = here("train", QUADRUPED, *few, "--eval-freq", "-1", "-i", str(run / f"{QUADRUPED}.zip"), cwd=tmp_path)
    assert "Loading saved VecNormalize stats" in out
    resumed = PPO.load(run.with_name(f"{QUADRUPED}_2") / f"{QUADRUPED}.zip")
    assert resumed._n_updates == 2 * model._n_updates == 30

    out = here("enjoy", QUADRUPED, "-f", "logs", "--exp-id", "1", "--load-checkpoint", "384", "-n", "50", "--no-render",
              *short, cwd=tmp_path)
    assert "rl_model_384_steps.zip" in out and "Loading running average" in out and out.count("Episode Length") >= 2


def test_a_study_draws_from_our_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                      capsys: pytest.CaptureFixture[str]) -> None:
    import optuna

    from sb3_isaac.tuning.space import read_space

    out = zoo_here(monkeypatch, capsys, "train", PENDULUM, "-optimize", "--n-trials", "2", "--n-startup-trials", "1",
                   "--n-evaluations", "1", "--n-eval-envs", "4", "--eval-episodes", "4", "-n", "512", "--seed", "3",
                   "-params", "n_envs:16", "--storage", "study.log", "--study-name", "s", "--no-optim-plots",
                   cwd=tmp_path)
    assert "Best trial" in out
    storage = str(tmp_path / "study.log")
    study = optuna.load_study(study_name="s", storage=optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(storage)))
    names = {parameter.name for parameter in read_space(PENDULUM, "ppo").parameters}
    assert [set(trial.params) for trial in study.trials] == [names, names]
    drawn = study.trials[1].params
    trial = manager(PENDULUM, tmp_path, storage=storage, study_name="s", trial_id=1, hyperparams={"n_envs": 16})
    words, _ = trial.read_hyperparameters()
    assert words["batch_size"] == -(-16 * 16 // drawn["n_minibatches"])
    assert words["learning_rate"] == drawn["learning_rate"]


def test_a_trial_has_arguments_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import optuna
    import rl_zoo3.exp_manager

    made: Dict[str, Any] = {}

    class Spy(PPO):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            made.update(kwargs)
            super().__init__(*args, **kwargs)

        def learn(self, *args: Any, callback: Any, **kwargs: Any) -> Any:
            made["callbacks"] = callback
            return super().learn(*args, callback=callback, **kwargs)

    monkeypatch.setitem(rl_zoo3.exp_manager.ALGOS, "ppo", Spy)
    study = manager(QUADRUPED, tmp_path, n_timesteps=96, optimize_hyperparameters=True, verbose=0,
                    hyperparams={"n_envs": 4}, env_kwargs={"episode_length_s": 0.2, "threads": 1})
    study.setup_experiment()
    drawn = {"learning_rate": 5e-4, "desired_kl": 0.02, "n_minibatches": 6, "n_epochs": 4, "gamma": 0.98,
             "gae_lambda": 0.92, "clip_range": 0.15, "ent_coef": 1e-4, "policy_kwargs.log_std_init": -1.0}
    study.objective(optuna.trial.FixedTrial(drawn))
    assert (made["batch_size"], made["n_epochs"], made["learning_rate"], made["n_steps"]) == (16, 4, 5e-4, 24)
    assert made["policy_kwargs"] == {"net_arch": {"pi": [256, 128, 64], "vf": [256, 128, 64]},
                                     "activation_fn": nn.ELU, "log_std_init": -1.0}, "what is not drawn stays"
    assert [callback.desired_kl for callback in made["callbacks"] if hasattr(callback, "desired_kl")] == [0.02]
    assert made["env"].gamma == 0.98
    assert study.specified_callbacks[-1] == {"sb3_isaac.AdaptiveLearningRate": {"desired_kl": 0.03}}
    assert study._hyperparams["policy_kwargs"]["log_std_init"] == -1.4


@pytest.mark.parametrize("num_envs", [1, 64, 1000])
def test_the_batch_size_follows_the_number_of_environments(num_envs: int, tmp_path: Path) -> None:
    for env_id, n_steps, minibatches in ((QUADRUPED, 24, 4), (PENDULUM, 16, 4)):
        words, saved = manager(env_id, tmp_path, hyperparams={"n_envs": num_envs}).read_hyperparameters()
        assert words["batch_size"] == num_envs * n_steps // minibatches and "n_minibatches" not in words
        assert saved["n_minibatches"] == minibatches, "what is saved goes with any number of environments"


def test_one_simulation_staggered_in_training_alone(tmp_path: Path) -> None:
    ours = manager(PENDULUM, tmp_path, verbose=0, hyperparams={"n_envs": 32})
    ours.setup_experiment()
    train, score = ours.create_envs(32), ours.create_envs(8, eval_env=True)
    for env, n, spread in ((train, 32, True), (score, 8, False)):
        env.reset()
        assert isinstance(env, VecNormalize) and isinstance(env.unwrapped, IsaacVecEnv) and env.num_envs == n
        assert (env.unwrapped.env.steps.unique().numel() > 1) is spread
        env.close()


def test_settings_are_the_shipped_ones(tmp_path: Path) -> None:
    for given, file, robots in ((None, "sb3-ppo.yml", 256), ("ppo-course", "ppo-course.yml", 4096)):
        ours = manager(QUADRUPED, tmp_path, config=given)
        said, saved = ours.read_hyperparameters()
        assert Path(ours.config).name == file and said["n_envs"] == saved["n_envs"] == robots
    ours.algo, ours.config = "ars", str(Path(rl_zoo_folder(), "hyperparams", "ars.yml"))
    with pytest.raises(UserError, match=r"unknown algorithm 'ars' .* with -conf"):
        ours.read_hyperparameters()


@pytest.mark.parametrize("name", sorted(shipped()))
def test_plain_yaml_reads_the_shipped_files_as_we_do(name: str) -> None:
    """YAML 1.1 takes 1.0e6 for text and 1.0e+6 for a number; rl_zoo3 reads it with yaml.safe_load."""
    document = yaml.safe_load(shipped()[name].read_text())
    for env_id, entry in document.items():
        assert entry == read_entry(shipped()[name], env_id)


def rl_zoo_folder() -> Path:
    import rl_zoo3

    return Path(rl_zoo3.__file__).parent


def test_wrappers_of_one_robot_are_refused(tmp_path: Path) -> None:
    ours = manager(PENDULUM, tmp_path, verbose=0, hyperparams={
        "n_envs": 2, "env_wrapper": "gymnasium.wrappers.ClipAction"})
    with pytest.raises(UserError, match=r"ClipAction .* remove env_wrapper"):
        ours.setup_experiment()


def test_an_old_rl_zoo_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    import rl_zoo3

    from sb3_isaac.rl_zoo import plug

    monkeypatch.setattr(rl_zoo3, "__version__", "2.4.0")
    with pytest.warns(UserWarning, match=r"rl_zoo3 2\.4\.0 .* pip install 'rl_zoo3>=2\.8'"):
        plug()


def test_our_words_in_stocks() -> None:
    from sb3_isaac.rl_zoo import stock_words

    entry = {"n_envs": 64, "n_steps": 24, "batch_size": 5, "n_minibatches": 12, "desired_kl": 0.01,
             "callback": "a.B", "policy": "AsymmetricPolicy", "policy_kwargs.log_std_init": -1.0,
             "policy_kwargs": "dict(net_arch=[8], activation_fn=nn.ReLU)"}
    kept = dict(entry)
    assert stock_words(entry) == {
        "n_envs": 64, "n_steps": 24, "batch_size": 128,
        "callback": ["a.B", {"sb3_isaac.AdaptiveLearningRate": {"desired_kl": 0.01}}],
        "policy": "sb3_isaac.rl.policy.asymmetric.AsymmetricPolicy",
        "policy_kwargs": {"net_arch": [8], "activation_fn": nn.ReLU, "log_std_init": -1.0}}
    assert entry == kept
    stock = {"n_envs": 8, "policy": "MlpPolicy", "policy_kwargs": "dict(activation_fn=nn.Softsign)", "batch_size": 64}
    assert stock_words(stock) == stock, "what is stock already stays as it is"


def test_others_get_what_rl_zoo_gives_them(tmp_path: Path) -> None:
    from rl_zoo3.exp_manager import ExperimentManager

    for vec_env_type, expected in (("dummy", DummyVecEnv), ("subproc", SubprocVecEnv)):
        theirs = manager("CartPole-v1", tmp_path, vec_env_type=vec_env_type)
        assert type(theirs) is ExperimentManager and theirs.vec_env_class is expected
    assert theirs.config.endswith("rl_zoo3/hyperparams/ppo.yml")


CARTPOLE_TWICE = """
import sys, rl_zoo3.enjoy, rl_zoo3.train, optuna, torch
from rl_zoo3.exp_manager import HYPERPARAMS_SAMPLER
from stable_baselines3 import PPO

def run(command, *args):
    sys.argv = ["rl_zoo3", "--env", "CartPole-v1", "-f", "logs", *args]
    command()

def train(*args):
    run(rl_zoo3.train.train, "-n", "256", "--eval-freq", "128", "--seed", "7", "-params", "n_envs:2", *args)

def draw():
    return HYPERPARAMS_SAMPLER["ppo"](optuna.create_study(sampler=optuna.samplers.RandomSampler(0)).ask(), 1, 8, {})

if __name__ == "__main__":
    before = draw()
    train()
    train("--gym-packages", "sb3_isaac")
    assert "sb3_isaac.rl_zoo" in sys.modules and draw() == before
    first, second = (PPO.load(f"logs/ppo/CartPole-v1_{k}/CartPole-v1.zip").policy.state_dict() for k in (1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    for n_envs in ("1", "2"):
        run(rl_zoo3.enjoy.enjoy, "--no-render", "-n", "60", "--n-envs", n_envs)
    print("the same")
"""


def test_cartpole_in_the_same_process_is_untouched(tmp_path: Path) -> None:
    (tmp_path / "twice.py").write_text(CARTPOLE_TWICE)
    out = subprocess.run([sys.executable, "twice.py"], cwd=tmp_path, capture_output=True, text=True,
                         env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert out.returncode == 0 and out.stdout.rstrip().endswith("the same"), out.stdout + out.stderr


def test_without_rl_zoo_the_package_stays_light() -> None:
    code = ("import sb3_isaac, sys; "
            "print([m for m in ('torch', 'rl_zoo3', 'optuna', 'sb3_isaac.rl_zoo') if m in sys.modules])")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
