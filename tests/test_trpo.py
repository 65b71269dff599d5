"""``--algo trpo``: sb3-contrib's TRPO in our runs."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import List

import pytest
import torch

from sb3_isaac.cli.main import main
from sb3_isaac.config import load_config
from sb3_isaac.rl.training import build
from sb3_isaac.rl.training.metrics import read_metrics
from sb3_isaac.rl.training.run_folder import CHECKPOINT_FILES

installed = pytest.mark.skipif(importlib.util.find_spec("sb3_contrib") is None,
                               reason="sb3-contrib is not installed: pip install sb3-contrib")
PENDULUM = ["--env", "IsaacDoublePendulum-v0", "--algo", "trpo"]
SMALL = [*PENDULUM, "--num-envs", "16", "-params", "n_steps:8", "batch_size:64"]


def train(folder: Path, *args: str) -> Path:
    assert main(["train", *args, "-f", str(folder), "--eval-freq", "-1", "--eval-episodes", "4"]) == 0
    return max((folder / "trpo").iterdir())


@installed
def test_it_learns_to_balance(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run = train(tmp_path, *PENDULUM, "-n", "49152", "--seed", "0")
    metrics = read_metrics(run / "metrics.csv")
    assert metrics["step"][0] == 4096 and metrics["rollout/ep_rew_mean"][0] < 20, "an untrained one falls at once"
    kl = metrics["train/kl_divergence_loss"][1:]
    assert (kl >= 0).all() and (kl < 0.02).all(), "no step leaves the trust region of the shipped target_kl"
    assert set(CHECKPOINT_FILES) <= {p.name for p in run.iterdir()}
    capsys.readouterr()
    assert main(["eval", str(run), "--episodes", "16", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["reward_mean"] > 400, "of 500 at most"


@installed
def test_resume_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    whole = train(tmp_path / "a", *SMALL, "-n", "1024", "--seed", "5")
    half = train(tmp_path / "b", *SMALL, "-n", "512", "--seed", "5")
    assert main(["train", "-i", str(half), "-n", "1024"]) == 0
    a, b = (torch.load(run / "policy.pth", weights_only=True)["state_dict"] for run in (whole, half))
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=0, atol=1e-6)


@installed
def test_what_is_not_configured_is_its_own_default(tmp_path: Path) -> None:
    (tmp_path / "bare.yml").write_text("default: {n_timesteps: 1000, n_envs: 4, policy: MlpPolicy}")
    for algo, n_steps, batch_size in (("trpo", 2048, 128), ("ppo", 2048, 64)):
        config = load_config("IsaacDoublePendulum-v0", algo, path=tmp_path / "bare.yml",
                             algo_keys=build.algorithm_options(algo), env_keys=())
        assert (build.setting(config, "n_steps"), build.setting(config, "batch_size")) == (n_steps, batch_size)
        assert build.setting(config, "no_such_key") is None


@installed
@pytest.mark.parametrize(("argv", "words"), [
    (["-params", "desired_kl:0.01"], ["desired_kl", "trpo", "target_kl"]),
    (["-params", "ent_coef:0.01"], ["'ent_coef'"]),
    (["-params", "target_kl:None"], ["target_kl", "None", "number"]),
    (["-params", "target_klm:0.01"], ["'target_klm'", "did you mean 'target_kl'"]),
])
def test_mistakes_are_one_sentence(argv: List[str], words: List[str], tmp_path: Path,
                                   capsys: pytest.CaptureFixture) -> None:
    assert main(["train", *PENDULUM, *argv, "--num-envs", "2", "-f", str(tmp_path)]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and all(word in lines[0] for word in words), lines


def test_without_sb3_contrib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                                     capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "sb3_contrib", None)
    assert main(["train", *PENDULUM, "-f", str(tmp_path)]) == 2
    assert "pip install sb3-contrib" in capsys.readouterr().err and not list(tmp_path.iterdir())
