"""A run as the beginning of another, in Python too; what there is to train, and where each setting comes from."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any, Dict

import numpy as np
import pytest
import torch
import yaml

import sb3_isaac
from sb3_isaac import UserError
from sb3_isaac.cli.main import main
from sb3_isaac.rl.training import build
from sb3_isaac.rl.training.run_folder import read_meta

PENDULUM = ["--env", "IsaacDoublePendulum-v0", "--num-envs", "16", "--seed", "1", "--eval-episodes", "4",
            "--eval-freq", "-1", "-params", "n_steps:8", "batch_size:64", "n_epochs:1"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two iterations."""
    folder = tmp_path_factory.mktemp("run")
    assert main(["train", *PENDULUM, "-n", "256", "-f", str(folder)]) == 0
    return folder / "ppo" / "IsaacDoublePendulum-v0_1"


def files(folder: Path) -> Dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def tuned(folder: Path, *args: str) -> Path:
    assert main(["train", *args, "-f", str(folder)]) == 0
    return folder / "ppo" / "IsaacDoublePendulum-v0_1"


# ---- --from

def test_a_run_is_tuned_in_a_new_one(run: Path, tmp_path: Path) -> None:
    before = files(run)
    new = tuned(tmp_path, "--from", str(run), "--env-kwargs", "reward.effort:-0.5", "--num-envs", "8", "--seed", "7",
                "-n", "64", "-params", "learning_rate:1e-9", "batch_size:32")
    assert files(run) == before
    (entry,) = yaml.safe_load((new / "config.yml").read_text()).values()
    assert entry["env_kwargs"] == {"reward": {"effort": -0.5}} and entry["n_envs"] == 8 and entry["seed"] == 7
    meta = read_meta(new)
    assert meta["num_timesteps"] == 64, "its own steps, from 0"
    assert meta["from"] == str(run.resolve() / "checkpoints" / "256")
    assert meta["settings"]["eval_episodes"] == 4
    ours, theirs = (torch.load(r / "policy.pth", weights_only=True) for r in (new, run))
    for key, value in theirs["state_dict"].items():  # one update at a learning rate of 1e-9
        torch.testing.assert_close(ours["state_dict"][key], value, rtol=0, atol=1e-6)
    assert not torch.equal(ours["obs_mean"], theirs["obs_mean"])
    model, env = sb3_isaac.load_run(new)
    count = env.obs_rms.count if not isinstance(env.obs_rms, dict) else env.obs_rms["policy"].count
    assert count > 256 + 64 - 1, "the normaliser goes on from what it knew"
    assert model.policy.optimizer.param_groups[0]["lr"] == 1e-9
    env.close()


@pytest.mark.parametrize("flags", [["--seed", "3"], ["--env-kwargs", "episode_length_s:2.0"]])
def test_a_finished_run_with_another_task_or_seed_is_tuned(flags: list, run: Path, tmp_path: Path) -> None:
    before = files(run)
    new = tuned(tmp_path, "-i", str(run), *flags, "-n", "128")
    assert read_meta(new)["from"].startswith(str(run.resolve())) and files(run) == before


def test_an_unfinished_run_is_not(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unfinished = run.parent / "unfinished"
    unfinished.mkdir()
    for name, content in files(run).items():
        if name != "DONE":
            (unfinished / name).parent.mkdir(parents=True, exist_ok=True)
            (unfinished / name).write_bytes(content)
    assert main(["train", "-i", str(unfinished), "--seed", "3", "-n", "512"]) == 2
    assert "--from RUN" in capsys.readouterr().err


def test_what_cannot_be_tuned_is_a_sentence(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for flags, said in ((["--algo", "trpo"], "--algo stays"), (["--env", "IsaacQuadrupedFlat-v0"], "--env stays"),
                        (["-params", "policy_kwargs.net_arch:[8]"], "policy_kwargs cannot be changed"),
                        (["-i", str(run)], "give one of them"),
                        (["--env-kwargs", "observation.more:sb3_isaac.nothing"], "")):
        assert main(["train", "--from", str(run), "-n", "128", *flags, "-f", str(tmp_path)]) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1, error
    assert not list(tmp_path.glob("ppo/*"))


def test_a_tuned_run_can_be_begun_again(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def end(_: Any) -> None:
        signal.raise_signal(signal.SIGTERM)

    flags = ["--from", str(run), "--seed", "7", "-n", "128"]
    unbroken = tuned(tmp_path / "unbroken", *flags)
    with monkeypatch.context() as patch:
        patch.setattr(build, "make_env", end)
        assert main(["train", *flags, "-f", str(tmp_path)]) == 143
    begun = tmp_path / "ppo" / "IsaacDoublePendulum-v0_1"
    assert main(["train", "-i", str(begun)]) == 0
    ours, theirs = (torch.load(r / "policy.pth", weights_only=True)["state_dict"] for r in (begun, unbroken))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


# ---- in Python

def test_a_run_is_loaded_with_its_environment(run: Path) -> None:
    model, env = sb3_isaac.load_run(run, num_envs=4)
    policy, obs = sb3_isaac.load_policy(run), env.reset()
    assert obs.shape[0] == 4 and not env.training and not env.norm_reward
    actions, _ = model.predict(obs, deterministic=True)
    raw = torch.as_tensor(env.get_original_obs())
    np.testing.assert_allclose(actions, policy(raw).numpy(), atol=1e-5)
    env.step(actions)
    env.close()
    model, env = sb3_isaac.load_run(str(run), training=True, episode_length_s=2.0)
    assert env.num_envs == 16 and env.training and env.norm_reward
    model.learn(128)
    env.close()
    with pytest.raises(UserError, match="no run folder"):
        sb3_isaac.load_run(run / "nowhere")
    with pytest.raises(UserError, match="unknown task option 'episode_length'"):
        sb3_isaac.load_run(run, episode_length=2.0)


# ---- config and list

def table_of(text: str) -> Dict[str, Any]:
    rows = [line.rsplit("  <- ", 1) for line in text.splitlines()]
    return {left.split(None, 1)[0]: (left.split(None, 1)[1].strip(), where) for left, where in rows}


def test_each_setting_has_its_origin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conf = tmp_path / "mine.yml"
    conf.write_text("IsaacDoublePendulum-v0:\n  n_envs: 32\n  n_timesteps: 1e6\n  n_steps: 8\n  n_minibatches: 4\n"
                    "  policy: MlpPolicy\n  gamma: 0.9\n  normalize: {norm_obs: true}\n"
                    "  policy_kwargs: {net_arch: [8], activation_fn: nn.ELU}\n"
                    "  env_kwargs: {reward: {height: 2.0}}\n")
    assert main(["config", "IsaacDoublePendulum-v0", "--conf", str(conf), "--num-envs", "64", "-params",
                 "gamma:0.95", "policy_kwargs.log_std_init:-1", "--env-kwargs", "episode_length_s:4"]) == 0
    table = table_of(capsys.readouterr().out)
    assert table["n_envs"] == ("64", "--num-envs") and table["gamma"] == ("0.95", "-params")
    assert table["n_steps"] == ("8", str(conf)) and table["gae_lambda"] == ("0.95", "default of PPO")
    assert table["batch_size"] == ("128", f"n_minibatches in {conf}")
    assert table["policy_kwargs.net_arch"] == ("[8]", str(conf))
    assert table["policy_kwargs.log_std_init"] == ("-1", "-params")
    assert table["normalize.norm_obs"] == ("True", str(conf))
    assert table["env_kwargs.reward.height"] == ("2.0", str(conf))
    assert table["env_kwargs.reward.effort"][1] == "default of DoublePendulum", "beside one that is set"
    assert table["env_kwargs.episode_length_s"] == ("4", "--env-kwargs")
    assert table["env_kwargs.stagger"] == ("True", "default of DoublePendulum")
    assert main(["config", "IsaacDoublePendulum-v0"]) == 0
    assert table_of(capsys.readouterr().out)["n_steps"][1] == "the shipped ppo.yml"
    assert main(["config", "IsaacDoublePendulam-v0"]) == 2


def test_the_list_has_every_name(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from sb3_isaac.contract.ids import _TASKS, TASKS

    monkeypatch.setitem(_TASKS, "Lost-v0", "a_folder_that_is_gone:Lost")
    assert main(["list"]) == 0
    said = capsys.readouterr().out
    assert "Lost-v0: Lost-v0 is registered as a_folder_that_is_gone:Lost, which cannot be imported" in said
    from sb3_isaac.robots import ROBOTS
    from sb3_isaac.tasks.quadruped_flat import QuadrupedFlat

    for name in (*TASKS, *ROBOTS, *build.ALGORITHMS, *QuadrupedFlat.REWARD, *QuadrupedFlat.COMMAND, "ppo-course",
                 "episode_length_s", f"energy {QuadrupedFlat.REWARD['energy'].weight:g}"):
        assert name in said, name
