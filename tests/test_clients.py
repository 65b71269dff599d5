"""Clients: a program written for Isaac Gym, as an SB3 VecEnv and as a run of ``sb3-isaac train``."""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from typing import Any, Iterator

import client_program
import numpy as np
import pytest
import stand_in_client
import torch
from isaacgym_helpers import emulation, python, write

from sb3_isaac import PPO, IsaacVecEnv, UserError, VecNormalize
from sb3_isaac import clients as clients_module
from sb3_isaac.cli.main import main
from sb3_isaac.clients import ADAPTERS, as_tensor_env, env_options, is_client, make_tensor_env, registered_id
from sb3_isaac.clients.config_tree import overwrite, own_copy
from sb3_isaac.clients.legged_gym import LeggedGymEnv

__all__ = ["emulation"]
PACKAGE = "cart_client"
pytestmark = [pytest.mark.usefixtures("emulation"), pytest.mark.filterwarnings("ignore:.*loses the last observation")]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with the client's package in it."""
    for name, text in client_program.files(PACKAGE).items():
        write((tmp_path / "site" / PACKAGE / name).parent, {Path(name).name: text})
    return tmp_path / "site"


@pytest.fixture(autouse=True)
def importable(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(site))
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == PACKAGE]:
        del sys.modules[name]


def live(num_envs: int = 4, **cfg: Any) -> Any:
    """The client's environment, made by its own means."""
    from cart_client.envs import CartCfg, task_registry
    from isaacgym import gymapi, gymutil

    CartCfg.env.num_envs = num_envs
    for name, value in cfg.items():
        setattr(CartCfg.env, name, value)
    params = gymapi.SimParams()
    gymutil.parse_sim_config({"dt": 0.01, "up_axis": 1, "substeps": 1}, params)
    return task_registry.task_classes["cart"](CartCfg, params, gymapi.SIM_PHYSX, "cpu", True)


def test_a_live_environment_is_a_vec_env() -> None:
    client = live(num_privileged_obs=1)
    env = IsaacVecEnv(client, stagger=False, seed=0)
    assert env.num_envs == 4 and set(env.observation_space.spaces) == {"policy", "critic"}
    assert env.action_space.low.tolist() == [-10.0] and env.action_space.high.tolist() == [10.0]
    first = env.reset()
    kept = {name: value.copy() for name, value in first.items()}
    obs, reward, dones, infos = env.step(np.full((4, 1), 0.3, dtype=np.float32))
    assert all(np.array_equal(first[name], kept[name]) for name in kept), "what was handed out is a copy"
    assert obs["policy"].shape == (4, 3) and obs["policy"].dtype == reward.dtype == np.float32
    np.testing.assert_allclose(obs["policy"], client.obs_buf.numpy())
    np.testing.assert_allclose(obs["policy"][:, 2], 0.3, rtol=1e-6)
    assert (obs["critic"] == 2).all() and not dones.any() and infos == [{}] * 4
    assert "time_outs" in client.extras  # left over from the reset, and no time-out of this step
    env.step(np.full((4, 1), 1000.0, dtype=np.float32))
    assert client.actions.tolist() == [[10.0]] * 4, "actions are bounded"
    env.close()


def test_ends_are_told_apart_and_end_with_what_was_seen_last() -> None:
    """Carts 0 and 1 are pushed off the rail; the others run out of time after 20 steps and one."""
    client = live(episode_steps=20)
    env = IsaacVecEnv(client, stagger=False, seed=0)
    env.reset_tensor()
    push = torch.tensor([[5.0], [-5.0], [0.0], [0.0]])
    lengths, fell, before = torch.zeros(4), torch.zeros(4, dtype=torch.bool), None
    for i in range(1, 22):
        client.dof[2:] *= 0.0  # they stay in the middle
        client.gym.set_dof_state_tensor(client.sim, unwrapped(client.dof))
        before = {group: value.clone() for group, value in env.env._obs.items()}
        step = env.step_tensor(push)
        fell |= step.terminated
        lengths[(step.terminated | step.truncated) & (lengths == 0)] = i
        over = step.terminated | step.truncated
        assert not (step.terminated & step.truncated).any()
        assert torch.equal(step.final_obs["policy"][over], before["policy"][over])
        assert torch.equal(step.final_obs["policy"][~over], step.obs["policy"][~over])
        assert torch.equal(step.log["falls"], step.terminated)
    assert fell.tolist() == [True, True, False, False]
    assert lengths[2:].tolist() == [20.0, 20.0] and (lengths[:2] < 20).all()  # reset() made a step already
    values = env.statistics.read()
    assert values["rollout/timeouts"] >= 2 and values["rollout/falls"] >= 2 and values["rollout/ep_len_mean"] <= 21


def unwrapped(tensor: torch.Tensor) -> Any:
    from isaacgym import gymtorch

    return gymtorch.unwrap_tensor(tensor)


def test_stale_and_absent_time_outs() -> None:
    """``extras["time_outs"]`` of a step without a reset is an older one's, and absent before the first reset."""
    client = live()
    env = LeggedGymEnv(client, stagger=False)
    env.reset()
    client.extras.clear()
    assert not env.step(torch.zeros(4, 1)).truncated.any()
    client.extras["time_outs"] = torch.ones(4, dtype=torch.bool)
    step = env.step(torch.zeros(4, 1))
    assert not step.truncated.any() and not step.terminated.any()


def test_first_episodes_are_staggered_and_seeds_repeat() -> None:
    client = live(num_envs=64, episode_steps=20)
    env = IsaacVecEnv(client, seed=5)
    first = env.reset()
    lengths = client.episode_length_buf.clone()
    assert len(lengths.unique()) > 10 and int(lengths.max()) < 21
    env.seed(5)
    assert np.array_equal(env.reset(), first) and torch.equal(client.episode_length_buf, lengths)
    env.seed(6)
    assert not np.array_equal(env.reset(), first)


def test_the_loss_of_the_last_observation_is_said() -> None:
    with pytest.warns(UserWarning, match="Cart resets inside its step and loses the last observation"):
        IsaacVecEnv(live())


def test_a_task_by_its_name_with_a_config_of_ones_own() -> None:
    before = list(sys.argv)
    env = make_tensor_env(f"{PACKAGE}:cart", 3, threads=1, seed=0, cfg={"env": {"episode_steps": 5},
                                                                        "rewards": {"scale": 2.0}})
    assert isinstance(env, LeggedGymEnv) and env.num_envs == 3 and env.max_steps == 6
    assert set(env.observation_space.spaces) == {"policy"}
    obs = env.reset(seed=0)["policy"].clone()
    reward = env.step(torch.zeros(3, 1)).reward
    assert 1.0 < float(reward.max()) <= 2.0 and float(obs[:, 0].abs().max()) <= 0.6
    facts = env.metadata()
    assert facts["obs_table"] == {"obs": 3} and facts["joint_names"] == ["slide"]
    assert facts["control_dt"] == pytest.approx(0.02) and facts["action_scale"] == 1.0
    assert sys.argv == before, "argv is as it was"
    env.close()


def test_mistakes_are_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    for kwargs, said in (({"env": "cart_client:cat"}, "did you mean 'cart'"), ({"env": "no_client:cart"}, "PYTHONPATH"),
                         ({"env": "cart_client:cart", "speed": 3}, "unknown option 'speed'"),
                         ({"env": "cart_client:cart", "cfg": {"enw": {}}}, "did you mean 'env'"),
                         ({"env": "cart_client:cart", "cfg": {"env": {"num_env": 3}}}, "did you mean 'num_envs'"),
                         ({"env": "cart_client:cart", "num_envs": 0}, "num_envs is 0"),
                         ({"env": "cart_client:cart", "device": "cuda:0", "num_envs": 2}, "'cuda:0'"),
                         ({"env": object()}, "legged_gym, unitree_rl_gym, humanoid-gym, IsaacGymEnvs, mjlab or"),
                         ({"env": live(), "num_envs": 9}, "leave out num_envs"),
                         ({"env": live(), "robot": "anymal"}, "unknown option 'robot'"),
                         ({"env": live(), "action_bound": -1.0}, "action_bound is -1.0")):
        with pytest.raises(UserError, match=said):
            IsaacVecEnv(**kwargs)
    env = IsaacVecEnv(live())
    with pytest.raises(UserError, match="give one action for each"):
        env.step(np.zeros((4, 2)))
    with pytest.raises(UserError, match=r"give \(4, 1\)"):
        env.step_tensor(torch.zeros(4, 2))
    assert "cfg" in env_options("cart_client:cart") and "robot" in env_options("IsaacQuadrupedFlat-v0")


def test_options_stay_with_the_environment_that_they_were_given_for() -> None:
    """The client's registry hands out its own config objects, here classes."""
    from cart_client.envs import CartCfg, CartCfgPPO

    changed = make_tensor_env(f"{PACKAGE}:cart", 3, threads=1, seed=7, cfg={"rewards": {"scale": 2.0}})
    assert changed.client.cfg.rewards.scale == 2.0 and changed.client.cfg.seed == 7
    assert CartCfg.rewards.scale == 1.0 and CartCfg.env.num_envs == 8 and CartCfgPPO.seed == 1
    plain = make_tensor_env(f"{PACKAGE}:cart", 2, threads=1)
    assert plain.client.cfg.rewards.scale == 1.0 and plain.num_envs == 2
    for env in (changed, plain):
        env.close()


def test_a_config_tree_of_classes_or_instances_is_copied_whole() -> None:
    class Cfg:
        class rewards:
            class scales:
                torques = -1.0
            weights = [1.0, 2.0]
        kind = list

        def method(self) -> int:
            return 3

        @property
        def size(self) -> int:
            return 4

    def instance() -> Any:
        cfg: Any = Cfg()
        cfg.rewards = Cfg.rewards()
        cfg.rewards.scales = Cfg.rewards.scales()
        return cfg

    for cfg in (Cfg, instance()):
        own = own_copy(cfg)
        overwrite(own, {"rewards": {"scales": {"torques": 5.0}}}, "a test")
        own.rewards.weights.append(3.0)
        assert cfg.rewards.scales.torques == -1.0 and cfg.rewards.weights == [1.0, 2.0]
        assert own.rewards.scales.torques == 5.0 and own.rewards.weights == [1.0, 2.0, 3.0] and own.kind is list
    assert own.method() == 3 and own.size == 4 and isinstance(own, Cfg)
    with pytest.raises(UserError, match="did you mean 'torques'"):
        overwrite(own, {"rewards": {"scales": {"torque": 5.0}}}, "a test")


def test_single_robots_start_anew() -> None:
    env = make_tensor_env(f"{PACKAGE}:cart", 4, threads=1, seed=0, stagger=False,
                          cfg={"env": {"num_privileged_obs": 1}})
    env.reset(seed=0)
    for _ in range(3):
        step = env.step(torch.zeros(4, 1))
    before = {group: value.clone() for group, value in step.obs.items()}
    mask = torch.tensor([False, True, False, True])
    obs = env.restart(mask)
    assert obs["critic"][:, 0].tolist() == [4.0, 0.0, 4.0, 0.0]
    for group, value in before.items():
        assert torch.equal(obs[group][~mask], value[~mask]), group
        assert (obs[group][mask] != value[mask]).any(), group
        assert env.observe()[group] is obs[group]
    env.close()


def test_what_training_asks_of_any_environment() -> None:
    env = make_tensor_env(f"{PACKAGE}:cart", 2, threads=1, seed=0)
    assert env.control_dt == pytest.approx(0.02) and env.max_steps == 21 and env.stop_rule is None
    assert env.options() == {} and env.report(None) == {} and env.warnings() == {}
    assert LeggedGymEnv.evaluation_options({"sim": "mujoco", "stagger": True}) == {"sim": "mujoco", "stagger": False}
    with pytest.raises(UserError, match="leave out the command"):
        LeggedGymEnv.evaluation_options({}, [1.0, 0.0])
    with pytest.raises(UserError, match="make it anew"):
        env.change_options(cfg={})
    del type(env.client).reset_idx
    with pytest.raises(UserError, match="call reset"):
        env.restart(torch.tensor([True, False]))
    env.close()


def test_ids_with_gymnasiums_prefix_are_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "my_tasks", raising=False)
    tasks = {"IsaacQuadrupedFlat-v0": "sb3_isaac.tasks.quadruped:Q", "Mine-v0": "my_tasks.jump:Jump"}
    monkeypatch.setattr(clients_module, "TASKS", tasks)
    for env_id, ours in (("IsaacQuadrupedFlat-v0", "IsaacQuadrupedFlat-v0"), ("Nope-v0", "Nope-v0"),
                         ("sb3_isaac:IsaacQuadrupedFlat-v0", "IsaacQuadrupedFlat-v0"), ("my_tasks:Mine-v0", "Mine-v0"),
                         ("my_tasks.jump:Mine-v0", "Mine-v0"), ("sb3_isaac:Mine-v0", "Mine-v0"),
                         ("my_tasks:Other-v0", None), ("legged_gym:go2", None), (f"{PACKAGE}:Mine-v0", None)):
        assert registered_id(env_id) == ours and is_client(env_id) is (ours is None), env_id
    assert "my_tasks" not in sys.modules
    monkeypatch.undo()
    env = IsaacVecEnv("sb3_isaac:IsaacDoublePendulum-v0", num_envs=2, seed=0)
    assert env.reset().shape[0] == 2
    env.close()
    with pytest.raises(UserError, match="unknown environment id 'IsaacQuadrupedFlt-v0': did you mean"):
        IsaacVecEnv("sb3_isaac:IsaacQuadrupedFlt-v0")


def test_the_command_line_takes_ids_with_gymnasiums_prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                           capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    env = "sb3_isaac:IsaacDoublePendulum-v0"
    assert main(["train", "--env", env, "--num-envs", "4", "-n", "64", "--eval-freq", "-1", "--eval-episodes", "2",
                 "-params", "n_steps:16", "batch_size:32", "--env-kwargs", "episode_length_s:0.2"]) == 0
    run = tmp_path / "logs" / "ppo" / "IsaacDoublePendulum-v0_1"
    assert json.loads((run / "meta.json").read_text())["env"] == "IsaacDoublePendulum-v0"
    assert main(["eval", str(run), "--env", env, "--episodes", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["episodes"] == 2


def test_a_package_that_is_no_client_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "site" / "boom", {"__init__.py": "raise SystemExit('imported')"})
    write(tmp_path / "site" / "boom" / "envs", {"__init__.py": "raise SystemExit('imported')"})
    with pytest.raises(UserError, match="'boom' is of no kind that is known"):
        IsaacVecEnv("boom:go2")
    with pytest.raises(UserError, match=r"no package 'boom\.envs'"):
        IsaacVecEnv("boom.envs:go2")


def test_the_table_imports_nothing_and_says_what_the_adapters_take(tmp_path: Path) -> None:
    code = ("import sys; from sb3_isaac.clients import is_client, env_options; assert is_client('legged_gym:go2'); "
            "print(env_options('legged_gym:go2'), [m for m in ('torch', 'mujoco', 'legged_gym', 'isaacgym') "
            "if m in sys.modules])")
    out = python("-c", code, cwd=tmp_path)
    assert out.stdout.strip().endswith("[]"), out.stdout + out.stderr
    for name, row in {**ADAPTERS, "stand-in": stand_in_client.ROW}.items():
        adapter = row.load()
        live = tuple(inspect.signature(adapter.adapt).parameters)[1:]
        assert set(live) == set(row.live_options), name
        make = set(inspect.signature(adapter.make).parameters) - {"package", "task", "num_envs", "adapter"}
        assert set(row.make_options) == make and {"device", "seed"} <= make, name


def test_an_adapter_is_one_file_and_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here: a client that keeps the last observations."""
    monkeypatch.setattr(clients_module, "ADAPTERS", {**ADAPTERS, "stand-in": stand_in_client.ROW})
    assert "limit" in env_options("stand_in:count")
    env = make_tensor_env("stand_in:count", 3, limit=2, stagger=False)
    assert env.reset()["policy"].tolist() == [[0.0]] * 3
    first = env.step(torch.tensor([[0.0], [9.0], [-9.0]]))
    assert first.reward.tolist() == [0.0, 1.0, -1.0], "actions are bounded"
    assert first.terminated.tolist() == [False, True, False] and not first.truncated.any()
    assert first.obs["policy"].tolist() == [[1.0], [0.0], [1.0]]
    assert first.final_obs["policy"].tolist() == [[1.0], [1.0], [1.0]]
    second = env.step(torch.zeros(3, 1))
    assert second.truncated.tolist() == [True, False, True]
    assert second.final_obs["policy"].tolist() == [[2.0], [1.0], [2.0]]
    by_name = IsaacVecEnv("stand_in:count", num_envs=2, seed=0, stagger=False)
    assert by_name.reset().tolist() == [[0.0]] * 2 and by_name.step(np.zeros((2, 1)))[0].tolist() == [[1.0]] * 2
    live = IsaacVecEnv(stand_in_client.Counters(2), stagger=False)
    assert isinstance(live.env, stand_in_client.CountersEnv) and as_tensor_env(env) is env
    with pytest.raises(UserError, match="mjlab, Isaac Lab or stand-in"):
        IsaacVecEnv(object())
    with pytest.raises(UserError, match="Counters cannot restart"):
        env.restart(torch.ones(3, dtype=torch.bool))


def test_ppo_learns_to_keep_the_cart_in_the_middle() -> None:
    env = VecNormalize(IsaacVecEnv(live(num_envs=64, episode_steps=50), seed=0))
    torch.manual_seed(0)
    model = PPO("MlpPolicy", env, n_steps=16, batch_size=256, n_epochs=5, learning_rate=3e-3, seed=0,
                policy_kwargs={"net_arch": [32]})
    means = []
    for _ in range(6):
        env.unwrapped.statistics.clear()
        model.learn(64 * 16 * 6, reset_num_timesteps=False)
        means.append(env.unwrapped.statistics.read()["rollout/ep_rew_mean"])
    assert means[-1] > 1.5 * means[0], means


def test_the_command_line_trains_evaluates_and_resumes(tmp_path: Path, site: Path, monkeypatch: pytest.MonkeyPatch,
                                                       capsys: pytest.CaptureFixture[str]) -> None:
    """The first command in a process of its own, in which nothing is there before it."""
    train = ["-m", "sb3_isaac", "train", "--client", f"{PACKAGE}:cart", "--num-envs", "8", "-params", "n_steps:8",
             "policy_kwargs.net_arch:[16]", "--env-kwargs", "threads:1", "cfg.env.num_privileged_obs:1", "--seed", "3"]
    out = python(*train, "-n", "128", cwd=tmp_path, path=site)
    assert out.returncode == 0, out.stdout + out.stderr
    monkeypatch.chdir(tmp_path)
    run = Path("logs", "ppo", f"{PACKAGE}-cart_1")
    assert {"model.zip", "vecnormalize.pkl", "config.yml", "meta.json", "task_state.pt", "policy.pth", "metrics.csv",
            "DONE"} <= {file.name for file in run.iterdir()}
    assert json.loads((run / "meta.json").read_text())["env"] == f"{PACKAGE}:cart"
    named = ("--env", f"{PACKAGE}:cart")
    assert f"eval {run} {' '.join(named)}" in out.stdout
    assert main(["eval", str(run), *named, "--episodes", "4", "--json"]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["episodes"] == 4 and 1 <= report["length_mean"] <= 21
    assert main(["train", "-i", str(run), *named, "-n", "256"]) == 0 and (run / "DONE").read_text() == "256\n"


def test_bad_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    for args, said in ((["--client", "cart"], "such as legged_gym:go2"), (["--client", "a:"], "such as legged_gym:go2"),
                       (["--client", ":b"], "such as legged_gym:go2"),
                       (["--client", "a:b", "--env", "IsaacQuadrupedFlat-v0"], "give one of them"),
                       (["--client", "no_such_client:cart"], "on PYTHONPATH"),
                       (["--client", f"{PACKAGE}:cart", "--env-kwargs", "robot:anymal"], "env_kwargs key 'robot'")):
        assert main(["train", "-n", "100", *args]) == 2
        assert said in capsys.readouterr().err
    assert not list(tmp_path.glob("logs/*/*")), "no run folder is left behind"
