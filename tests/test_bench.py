"""``sb3-isaac bench``: what it writes, its arithmetic, its floors and its sentences. No time is asserted."""

from __future__ import annotations

import json
import math
import statistics
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict

import pytest
import torch
from torch.distributions import Distribution

from sb3_isaac.bench import DEFAULT_BATCH, rows, speed
from sb3_isaac.bench.contenders import NAMES, RSL_RL, bench_config, make_contender, why_no_rsl_rl, why_not
from sb3_isaac.bench.floors import NetworkFloor, PhysicsFloor
from sb3_isaac.bench.rsl_rl import runner_settings
from sb3_isaac.bench.timing import PHASES
from sb3_isaac.cli.main import main
from sb3_isaac.contract import names
from sb3_isaac.contract.errors import UserError
from sb3_isaac.engine.cpu import CpuEngine
from sb3_isaac.rl.training import build

QUADRUPED, PENDULUM = "IsaacQuadrupedFlat-v0", "IsaacDoublePendulum-v0"


def bench(out: Path, *args: str) -> Dict[str, Any]:
    assert main(["bench", "--out", str(out), *args]) == 0
    assert (out / "bench.png").read_bytes()[:4] == b"\x89PNG"
    assert sorted(p.name for p in out.iterdir()) == ["bench.json", "bench.png"]
    result: Dict[str, Any] = json.loads((out / "bench.json").read_text(encoding="utf-8"))
    return result


def test_quadruped_with_several_numbers_of_robots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                  capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(speed, "LEAST_STEPPED", 1)  # one rollout's length of stepping, and not 20
    result = bench(tmp_path / "a" / "b", "--num-envs", "2,8", "--rounds", "1", "--algos", "ppo,ppo-symmetric,sb3-ppo",
                   "--default-batch", "--no-memory")
    row = {r["name"]: r for r in result["rows"]}
    for name in ("ours", "ours symmetric", "sb3", DEFAULT_BATCH):
        for phase in (*PHASES, "glue"):
            assert row[f"{name} {phase}"]["ratio"] is None and row[f"{name} {phase}"]["n"] == 1
    median = {name: r["median_s"] for name, r in row.items()}
    floors = median["bare physics"] + median["bare networks rollout"] + median["bare networks update"]
    assert row["ours iteration / floors"]["ratio"] == pytest.approx(median["ours iteration"] / floors)
    assert f"{DEFAULT_BATCH} iteration / floors" not in row
    for other in ("sb3", DEFAULT_BATCH):
        ratio = row[f"ours iteration / {other} iteration"]
        assert ratio["median_s"] is None
        assert ratio["ratio"] == pytest.approx(median["ours iteration"] / median[f"{other} iteration"])
        assert row[f"ours symmetric iteration / {other} iteration"]["ratio"] == pytest.approx(
            median["ours symmetric iteration"] / median[f"{other} iteration"])
    assert "ours symmetric iteration / floors" in row and "ours iteration / ours symmetric iteration" not in row
    parts = sum(median[f"ours {part}"] for part in ("physics", "task", "glue")) + median["bare networks rollout"]
    assert median["ours rollout"] == pytest.approx(parts)
    config, system = result["config"], result["system"]
    assert (config["num_envs"], config["n_steps"], config["batch_size"]) == (8, 24, 48)
    assert config["nets"]["pi"] == [256, 128, 64] and config["cone"] and config["integrator"]
    assert config["timestep_s"] > 0 and system["physics_threads"] >= 1 and system["versions"]["torch"]
    assert [s["num_envs"] for s in result["speed"]] == [2, 8] and result["speed"][0]["stepping_speedup"] == 1.0
    assert result["speed"][1]["training_speedup"] == pytest.approx(
        result["speed"][1]["training_per_s"] / result["speed"][0]["training_per_s"])
    said = capsys.readouterr().out
    assert "round 1/1    ours" in said and "ours iteration / sb3 iteration" in said and "stepping/s" in said


def test_a_users_own_task_has_no_engine_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """Its peak memory is measured in processes of their own, which know the task."""
    monkeypatch.setattr(names, "_ALLOWED", set(names._ALLOWED))
    result = bench(tmp_path, "--env", "Hold-v0", "--gym-packages", "hold_tasks", "--num-envs", "8", "--rounds", "2",
                   "--algos", "ppo,rsl_rl")
    found = {r["name"] for r in result["rows"]}
    assert "bare physics" not in found and "ours iteration / floors" not in found and "bare networks update" in found
    assert result["config"]["cone"] is None and result["speed"] == [] and result["peak_memory_mb"]["ours"] > 0
    said = capsys.readouterr().out
    assert "no MuJoCo engine" in said
    assert ("rsl_rl iteration" in found) != ("rsl_rl is left out" in said)
    assert any("no MuJoCo engine" in note for note in result["notes"])


def test_ratios_are_taken_within_a_round() -> None:
    seconds = {f"{name} {phase}": [value, 2.0 * value, 7.0] for name, value in (("ours", 1.0), ("sb3", 4.0))
               for phase in PHASES}
    seconds.update({"bare physics": [0.5, 0.5, 1.5], "bare networks rollout": [0.2, 0.3, 1.0],
                    "bare networks update": [0.3, 0.2, 1.0]})
    seconds.update({f"{DEFAULT_BATCH} {phase}": [14.0] for phase in PHASES})
    row = {r["name"]: r for r in rows(seconds)}
    assert row["ours iteration / sb3 iteration"]["ratios"] == [0.25, 0.25, 1.0]
    assert row["ours iteration / sb3 iteration"]["ratio"] == 0.25
    assert row["ours iteration / floors"]["ratios"] == pytest.approx([1.0, 2.0, 2.0])
    assert row["ours glue"]["seconds"] == pytest.approx([-1.2, -2.3, -8.0])
    # Measured once, after the last round, it is compared with that.
    assert row[f"ours iteration / {DEFAULT_BATCH} iteration"]["ratios"] == [0.5]
    for r in row.values():
        values = r.get("seconds", r.get("ratios"))
        assert statistics.median(values) == (r["median_s"] if r["ratio"] is None else r["ratio"])
        assert r["n"] == len(values)


def test_every_contender_is_given_the_tasks_options() -> None:
    config = bench_config(QUADRUPED, "ppo", 4, 0, {"episode_length_s": 1.0, "sim": "mujoco"})
    stock: Any = make_contender("sb3-ppo", config)
    assert stock.env.env.max_steps == 50 and config.env_kwargs["sim"] == "mujoco"
    stock.env.close()
    symmetric: Any = make_contender("ppo-symmetric", config)
    assert symmetric.model._symmetry is not None and symmetric.env.env.max_steps == 50
    symmetric.env.close()
    assert why_not("ppo-symmetric", config) is None
    assert "train without symmetry" in str(why_not("ppo-symmetric", bench_config(PENDULUM, "ppo", 4, 0)))
    with pytest.raises(UserError, match=r"'simm'.*did you mean 'sim'"):
        bench_config(QUADRUPED, "ppo", 4, 0, {"simm": "mujoco"})


def test_bare_physics_simulates_what_our_rollout_did() -> None:
    ours: Any = make_contender("ppo", bench_config(QUADRUPED, "ppo", 8, 0))
    ours.iterate()
    floor, step = PhysicsFloor(), CpuEngine.step
    assert floor.measure() is None and not floor.found
    with floor.recording():
        ours.iterate()
    floor.measure()
    ended = torch.from_numpy(ours.model.rollout_buffer.episode_starts[1:].any(axis=0) | ours.model._last_episode_starts)
    state = ours.env.env.sim.state_dict()["state"]
    assert (~ended).any()
    assert torch.equal(torch.from_numpy(floor._worlds.state.copy())[~ended], state[~ended])
    assert floor.facts()["substeps"] == ours.env.env.sim.substeps
    assert CpuEngine.step is step, "the engine is as it was"
    ours.env.close()


def test_bare_networks_leave_the_model_alone() -> None:
    ours: Any = make_contender("ppo", bench_config(PENDULUM, "ppo", 8, 0))
    before = [p.clone() for p in ours.model.policy.parameters()]
    floor = NetworkFloor(ours.model)
    assert floor.rollout_s() > 0 and floor.update_s() > 0
    assert floor.product_times() == {}, "its products are too small for the choice to matter"
    assert all(torch.equal(a, b) for a, b in zip(before, ours.model.policy.parameters()))
    assert all(p.grad is None for p in ours.model.policy.parameters())


def test_rsl_rl_runs_with_our_settings() -> None:
    if why_no_rsl_rl():
        pytest.skip(str(why_no_rsl_rl()))
    config = bench_config(QUADRUPED, "ppo", 8, 0)
    checks = Distribution._validate_args
    theirs: Any = make_contender("rsl_rl", config)
    algorithm = theirs.runner.alg
    networks = torch.nn.ModuleList([algorithm.actor, algorithm.critic])
    before = [p.clone() for p in networks.parameters()]
    phases = theirs.iterate()
    assert set(phases) == set(PHASES) and Distribution._validate_args is checks
    after = list(networks.parameters())
    assert all(not torch.equal(a, b) for a, b in zip(before, after)) and all(p.isfinite().all() for p in after)
    ours: Any = make_contender("sb3-ppo", config)
    assert (algorithm.num_learning_epochs, algorithm.gamma, algorithm.lam, algorithm.entropy_coef) == (
        ours.model.n_epochs, ours.model.gamma, ours.model.gae_lambda, ours.model.ent_coef)
    assert algorithm.num_mini_batches == config.minibatches == 4
    widths = [m.out_features for m in algorithm.actor.mlp if isinstance(m, torch.nn.Linear)]
    assert widths == [256, 128, 64, 12] and algorithm.actor.obs_normalization and algorithm.critic.obs_normalization
    assert sum(p.numel() for p in after) == sum(p.numel() for p in ours.model.policy.parameters())
    assert algorithm.actor.output_std.mean().item() == pytest.approx(math.exp(-1.4), rel=0.1)
    theirs.env.close()
    ours.env.close()


@pytest.mark.parametrize("name", ["ELU", "ReLU", "Tanh", "LeakyReLU", "SiLU", "GELU"])
def test_rsl_rl_gets_the_activation(name: str) -> None:
    config = bench_config(PENDULUM, "ppo", 2, 0)
    config = replace(config, algo_kwargs={**config.algo_kwargs, "policy_kwargs": {"activation_fn": f"nn.{name}"}})
    env = build.make_env(config)
    word = runner_settings(config, build.make_model(config, env))["actor"]["activation"]
    env.close()
    if why_no_rsl_rl():
        pytest.skip(str(why_no_rsl_rl()))
    from rsl_rl.utils import resolve_nn_activation

    assert type(resolve_nn_activation(word)) is getattr(torch.nn, name)


def test_the_hint_is_what_ci_installs() -> None:
    setup = (Path(__file__).parents[1] / "setup.cfg").read_text(encoding="utf-8")
    assert f"\n    {RSL_RL}\n" in setup[setup.index("\ntest ="):setup.index("\nall =")]


def test_an_rsl_rl_of_another_interface_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Version 3 reads its networks from another key: it is told apart before anything is built."""
    (tmp_path / "rsl_rl" / "runners").mkdir(parents=True)
    for package in ("rsl_rl", "rsl_rl/runners"):
        (tmp_path / package / "__init__.py").write_text("")
    (tmp_path / "rsl_rl_lib-3.3.0.dist-info").mkdir()
    (tmp_path / "rsl_rl_lib-3.3.0.dist-info" / "METADATA").write_text("Name: rsl-rl-lib\nVersion: 3.3.0\n")
    for name in [name for name in sys.modules if name.split(".")[0] == "rsl_rl"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path))
    said = why_no_rsl_rl()
    for name in ("rsl_rl.runners", "rsl_rl"):
        del sys.modules[name]
    assert said is not None and "version 3.3.0" in said and "pip install 'rsl-rl-lib>=5.0,<6'" in said


@pytest.mark.parametrize(("args", "sentence"), [
    (["--num-envs", "0"], "'0' is not a whole number of at least 1"),
    (["--num-envs", "8,x"], "'x' is not a whole number of at least 1"),
    (["--rounds", "0"], "'0' is not a whole number of at least 1"),
    (["--algos", "ppo,sb3"], "unknown algorithm 'sb3' in --algos"),
    (["--algos", "sb3-ppo"], "give ppo too"),
    (["--env", "IsaacQuadruped-v0"], "did you mean 'IsaacQuadrupedFlat-v0'"),
    (["--seed", "-5"], "is not a whole number from 0"),
    (["--num-envs", "8192", "--default-batch"], "give at most --num-envs 4096"),
], ids=lambda value: value if isinstance(value, str) else "_".join(value))
def test_a_mistake_is_one_sentence(args: list, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["bench", "--out", str(tmp_path), *args]) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_out_has_to_be_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "file").write_text("here already")
    assert main(["bench", "--out", str(tmp_path / "file"), "--num-envs", "8"]) == 2
    assert "cannot be made" in capsys.readouterr().err
    assert main(["bench"]) == 2
    assert "--out" in capsys.readouterr().err
    assert set(NAMES) == {"ppo", "ppo-symmetric", "sb3-ppo", "rsl_rl"}
