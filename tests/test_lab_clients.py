"""Adapters for mjlab, Isaac Lab and IsaacGymEnvs, on stand-ins with their interfaces; long_labs.py has real ones."""

from __future__ import annotations

import sys
import types
from typing import Any, Dict, Iterator

import gymnasium
import pytest
import torch
from stand_in_labs import HandTask, IsaacLabEnv, LabCfg, MjlabEnv, VecTask

from sb3_isaac import PPO, IsaacVecEnv, UserError, VecNormalize
from sb3_isaac.clients import as_tensor_env, env_options, make_tensor_env
from sb3_isaac.clients.adapter import ClientEnv
from sb3_isaac.testing import check_tensor_env, check_vec_env

PUSH = torch.tensor([[2.0], [-2.0], [0.0], [0.0]])


def mjlab(**cfg: Any) -> MjlabEnv:
    return MjlabEnv(LabCfg(**cfg))


def isaaclab(**cfg: Any) -> gymnasium.Env:
    return gymnasium.wrappers.OrderEnforcing(IsaacLabEnv(LabCfg(**{"compute_final_obs": True, **cfg})))


def ended(env: ClientEnv, actions: torch.Tensor = PUSH) -> Iterator[Any]:
    """Steps, with copies of what was observed before each, from a reset to the first time-outs."""
    env.reset(seed=0)
    for _ in range(env.max_steps + 1):
        before = {name: value.clone() for name, value in env.observe().items()}
        step = env.step(actions)
        yield before, step
        if bool(step.truncated.any()):
            return


@pytest.mark.parametrize("client", [mjlab, isaaclab, VecTask])
def test_the_contract_holds(client: Any) -> None:
    check_tensor_env(as_tensor_env(client()))


@pytest.mark.parametrize("client", [mjlab, isaaclab, VecTask])
def test_ends_are_told_apart_and_keep_their_last_observation(client: Any) -> None:
    env = as_tensor_env(client(), stagger=False)
    fell, late = torch.zeros(4, dtype=torch.bool), torch.zeros(4, dtype=torch.bool)
    for before, step in ended(env):
        over = step.terminated | step.truncated
        x, v = before["policy"].unbind(1)
        expected = x + 0.1 * (v + 0.1 * PUSH[:, 0].clamp(env._low, env._high))
        torch.testing.assert_close(step.final_obs["policy"][:, 0], expected, atol=2e-3, rtol=0.0)
        assert (step.obs["policy"][over, 0].abs() < 0.21).all() and (step.obs["policy"][over, 1].abs() < 2e-3).all()
        assert (step.reward <= 1.0).all()
        fell, late = fell | step.terminated, late | step.truncated
    assert fell.tolist() == [True, True, False, False] and late.tolist()[2:] == [True, True]


def test_mjlab_shows_two_groups_and_is_reset_by_the_adapter() -> None:
    client = mjlab()
    env = IsaacVecEnv(client, stagger=False, seed=0)
    assert env.observation_space["policy"].shape == (2,) and env.observation_space["critic"].shape == (2,)
    assert env.action_space.low.tolist() == [-10.0] and env.env.control_dt == 0.02 and env.env.max_steps == 20
    assert not client.cfg.auto_reset
    env.reset_tensor()
    assert torch.equal(env.env.observe()["critic"], torch.stack((client.beads.x, torch.zeros(4)), dim=1))
    going = None
    for _, step in ended(env.env):
        over = step.terminated | step.truncated
        if bool(over.any()) and not bool(over.all()):
            going = ~over
            assert torch.equal(step.obs["policy"][going], step.final_obs["policy"][going]), "their noise is drawn once"
            assert (step.obs["critic"][over, 1] == 0).all() and (step.final_obs["critic"][over, 1] > 0).all()
    assert going is not None
    mask = torch.tensor([False, True, False, False])
    before = env.env.observe()["critic"].clone()
    assert torch.equal(env.env.restart(mask)["critic"][~mask], before[~mask])
    check_vec_env(IsaacVecEnv(mjlab(), privileged=False))


def test_isaac_lab_by_its_wrappers_bounds_and_final_observations() -> None:
    wrapped = isaaclab()
    env = as_tensor_env(wrapped, action_bound=1.0, stagger=False)
    assert env.action_space.low.tolist() == [pytest.approx(-0.8)] and env.action_space.high.tolist() == [1.0]
    assert isinstance(env.client, gymnasium.Wrapper), "wrappers see each step"
    env.close()
    assert wrapped.unwrapped.closed
    with pytest.warns(UserWarning, match="IsaacLabEnv loses the last observation"):
        env = as_tensor_env(isaaclab(compute_final_obs=False), stagger=False)
    for before, step in ended(env):
        over = step.terminated | step.truncated
        assert torch.equal(step.final_obs["policy"][over], before["policy"][over])


@pytest.mark.parametrize("client", [mjlab, isaaclab])
@pytest.mark.parametrize("scaled", [True, False])
def test_reward_terms_are_logged_as_they_were_in_the_step(client: Any, scaled: bool) -> None:
    """The managers hold them a second, where they scale rewards by the step's length."""
    for _, step in ended(as_tensor_env(client(scale_rewards_by_dt=scaled), stagger=False)):
        torch.testing.assert_close(step.log["reward/near"], step.reward)
    assert "reward/near" not in as_tensor_env(VecTask()).step(torch.zeros(4, 1)).log


def test_running_out_of_time_ends_a_task_of_finite_horizon() -> None:
    env = as_tensor_env(isaaclab(is_finite_horizon=True), stagger=False)
    env.reset(seed=0)
    steps = [env.step(torch.zeros(4, 1)) for _ in range(20)]
    assert steps[-1].terminated.all() and not steps[-1].truncated.any()


def test_isaacgymenvs_starts_episodes_at_once() -> None:
    task = VecTask(limit=6)
    env = as_tensor_env(task, stagger=False)
    with pytest.raises(UserError, match="action_bound is 'much'"):
        as_tensor_env(task, action_bound="much")
    assert env.control_dt == 0.02 and env.action_space.high.tolist() == [1.0]
    env.reset(seed=0)
    for _ in range(5):
        step = env.step(torch.full((4, 1), 3.0))
    assert step.truncated.all() and task.seen[-1].max() == 1.0
    assert (step.final_obs["critic"] == 5.0).all() and (step.obs["critic"] == 0.0).all()
    step = env.step(torch.ones(4, 1))
    torch.testing.assert_close(step.obs["policy"][:, 1], torch.full((4,), 0.1))  # the first action has its effect
    assert not step.truncated.any()
    mask = torch.tensor([True, False, False, False])
    before = step.obs["policy"].clone()
    assert torch.equal(env.restart(mask)["policy"][1:], before[1:]) and task.progress_buf.tolist() == [0, 1, 1, 1]


@pytest.mark.parametrize("task", [lambda: VecTask(limit=6, inside=True), lambda: HandTask(limit=6)])
def test_isaacgymenvs_tasks_of_other_habits(task: Any) -> None:
    """One that resets inside its step, and one that can only reset itself."""
    with pytest.warns(UserWarning, match=r"VecTask resets inside|HandTask cannot start single episodes"):
        env = as_tensor_env(task(), stagger=False)
        *_, (before, step) = ended(env, torch.zeros(4, 1))
    assert not step.terminated.any() and step.truncated.all()
    assert env.client.extras["time_outs"].any() == (not env.client.inside)
    if env.client.inside:
        assert torch.equal(step.final_obs["policy"], before["policy"])
    else:
        assert torch.equal(step.final_obs["policy"], step.obs["policy"])
        env.step(torch.zeros(4, 1))
        assert (env.observe()["policy"][:, 1] == 0.0).all(), "it begins in the step after"
        with pytest.raises(UserError, match="cannot restart"):
            env.restart(torch.ones(4, dtype=torch.bool))


def test_first_episodes_are_staggered() -> None:
    for client, lengths in ((MjlabEnv(LabCfg(scene=types.SimpleNamespace(num_envs=64))), "episode_length_buf"),
                            (VecTask(64), "progress_buf")):
        as_tensor_env(client).reset(seed=0)
        assert len(getattr(client, lengths).unique()) > 10 and int(getattr(client, lengths).max()) < 19


def modules(monkeypatch: pytest.MonkeyPatch, tree: Dict[str, Dict[str, Any]]) -> None:
    """Packages that can be imported, with what they hold."""
    for name, holds in tree.items():
        module = types.ModuleType(name)
        module.__dict__.update(holds)
        monkeypatch.setitem(sys.modules, name, module)


def test_mjlab_tasks_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = {"list_tasks": lambda: ["Mjlab-Bead"], "load_env_cfg": lambda task: LabCfg()}
    modules(monkeypatch, {"mjlab": {}, "mjlab.tasks": {}, "mjlab.tasks.registry": registry,
                          "mjlab.envs": {"ManagerBasedRlEnv": MjlabEnv}})
    env = make_tensor_env("mjlab:Mjlab-Bead", 3, seed=4, cfg={"rewards": {"near": {"weight": 5.0, "params": {
        "std": 0.1}}}, "gains": {"hinge": 2.0}, "limit": 9})
    cfg = env.client.cfg
    assert (env.num_envs, env.max_steps, cfg.seed, cfg.rewards["near"].weight) == (3, 9, 4, 5.0)
    assert cfg.rewards["near"].params == {"std": 0.1, "name": "x"} and cfg.gains == {"hinge": 2.0}
    for bad, said in (({"rewards": {"neer": {}}}, "did you mean 'near'"),
                      ({"rewards": {"near": {"params": {"sdt": 1}}}}, "did you mean 'std'"),
                      ({"limits": 3}, "did you mean 'limit'")):
        with pytest.raises(UserError, match=said):
            make_tensor_env("mjlab:Mjlab-Bead", 3, cfg=bad)
    with pytest.raises(UserError, match="did you mean 'Mjlab-Bead'"):
        make_tensor_env("mjlab:Mjlab-Beed", 3)
    assert "cfg" in env_options("mjlab:Mjlab-Bead") and "sim" not in env_options("mjlab:Mjlab-Bead")


def test_isaac_lab_tasks_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    def parse_env_cfg(task: str, device: str, num_envs: int) -> LabCfg:
        assert started and (task, device) == ("Isaac-Bead-v0", "cpu")
        return LabCfg(scene=types.SimpleNamespace(num_envs=num_envs))

    modules(monkeypatch, {"isaaclab": {}, "isaaclab.app": {"AppLauncher": lambda **given: started.append(given)},
                          "isaaclab_tasks": {}, "isaaclab_tasks.utils": {"parse_env_cfg": parse_env_cfg}})
    gymnasium.register("Isaac-Bead-v0", entry_point=IsaacLabEnv, disable_env_checker=True,
                       kwargs={"env_cfg_entry_point": "its:Cfg"})
    try:
        env = make_tensor_env("isaaclab:Isaac-Bead-v0", 3, device="cpu", seed=1, cfg={"limit": 5})
        assert started == [{"headless": True, "device": "cpu"}] and (env.num_envs, env.max_steps) == (3, 5)
        assert env.base.cfg.compute_final_obs and env.base.cfg.seed == 1
        with pytest.raises(UserError, match="did you mean 'Isaac-Bead-v0'"):
            make_tensor_env("isaaclab_tasks:Isaac-Bed-v0", 3, device="cpu")
    finally:
        del gymnasium.registry["Isaac-Bead-v0"]


def test_mistakes_are_sentences() -> None:
    for env_id, said in (("mjlab:A", "pip install mjlab"), ("isaaclab:A", "Python of an Isaac Lab installation")):
        if env_id.partition(":")[0] not in sys.modules:
            with pytest.raises(UserError, match=said):
                make_tensor_env(env_id, 2)
    client = mjlab()
    client.single_observation_space.spaces["actor"].shape = (8, 8)
    with pytest.raises(UserError, match=r"'actor' .*\(8, 8\).*: only rows of numbers"):
        as_tensor_env(client)
    del client.single_observation_space.spaces["actor"]
    with pytest.raises(UserError, match="groups policy or actor"):
        as_tensor_env(client)
    task = VecTask()
    task._given = lambda: {"obs": {"joints": task.obs_buf}}  # type: ignore[assignment, return-value]
    with pytest.raises(UserError, match="as a dict"):
        as_tensor_env(task, privileged=False).step(torch.zeros(4, 1))
    with pytest.raises(UserError, match="action_bound is 1"):
        other = isaaclab()
        other.unwrapped.single_action_space = gymnasium.spaces.Box(2.0, 3.0, (1,))
        as_tensor_env(other, action_bound=1.0)


def test_ppo_learns_with_a_critic_that_sees_more() -> None:
    env = VecNormalize(IsaacVecEnv(MjlabEnv(LabCfg(scene=types.SimpleNamespace(num_envs=64), limit=40)), seed=0))
    torch.manual_seed(0)
    model = PPO("AsymmetricPolicy", env, n_steps=16, batch_size=256, n_epochs=5, learning_rate=3e-3, seed=0,
                policy_kwargs={"net_arch": [32]})
    means = []
    for _ in range(3):
        env.unwrapped.statistics.clear()
        model.learn(64 * 16 * 5, reset_num_timesteps=False)
        means.append(env.unwrapped.statistics.read()["rollout/ep_rew_mean"])
    assert means[-1] > 1.2 * means[0], means
