"""IsaacQuadrupedFlat-v0: observations, episodes, rewards on scripted motions, diverged worlds."""

from __future__ import annotations

import math
from typing import Any, Callable, Dict, Mapping, Tuple

import pytest
import torch

from sb3_isaac.contract.errors import UserError
from sb3_isaac.robots import Robot, get_robot
from sb3_isaac.sim import SimState
from sb3_isaac.tasks import make_task
from sb3_isaac.tasks.parts import gait
from sb3_isaac.tasks.quadruped_flat import QuadrupedFlat

ENV = "IsaacQuadrupedFlat-v0"


def make(num_envs: int = 4, **options: Any) -> QuadrupedFlat:
    options = {"seed": 0, "threads": 1, "stagger": False, **options}
    env = make_task(ENV, num_envs, **options)
    assert isinstance(env, QuadrupedFlat)
    return env


def test_observation_is_the_table() -> None:
    env = make(command={"forward_m_s": 0.7, "yaw_rad_s": -0.2})
    obs = env.reset()["policy"]
    assert obs.shape == (4, 44) and obs.dtype == torch.float32
    assert env.obs_table == {"joint_pos": 12, "joint_vel": 12, "last_action": 12, "imu_ang_vel_b": 3,
                             "imu_gravity_b": 3, "command": 2}
    action = torch.full((4, 12), 0.3)
    action[:, 0] = 2.0
    step = env.step(action)
    obs, state = step.obs["policy"], env.sim.state
    default = torch.tensor(env.robot.default_joint_pos)
    torch.testing.assert_close(obs[:, :12], state.joint_pos - default)
    torch.testing.assert_close(obs[:, 12:24], state.joint_vel)
    assert (obs[:, 24] == 1.0).all() and (obs[:, 25:36] == action[:, 1:]).all(), "last_action is the clipped one"
    torch.testing.assert_close(obs[:, 39:42].norm(dim=1), torch.ones(4))
    torch.testing.assert_close(obs[:, 42:], torch.tensor([[0.7, -0.2]]).expand(4, 2))


def test_first_observation_after_a_reset_is_fresh() -> None:
    env = make(num_envs=3, episode_length_s=0.1)
    env.reset()
    for _ in range(5):
        step = env.step(torch.ones(3, 12))
    assert step.truncated.all()
    assert (step.obs["policy"][:, 24:36] == 0).all() and (step.final_obs["policy"][:, 24:36] == 1).all()
    default = torch.tensor(env.robot.default_joint_pos)
    assert ((step.obs["policy"][:, :12]).abs() <= 0.1 + 1e-6).all(), "joints start within 0.1 rad of the pose"
    torch.testing.assert_close(step.obs["policy"][:, :12], env.sim.state.joint_pos - default)
    torch.testing.assert_close(env.sim.state.root_pos_w[:, :2], torch.zeros(3, 2))


def test_time_outs_end_at_the_configured_length_and_are_not_falls() -> None:
    env = make(num_envs=2, episode_length_s=0.2)
    env.reset()
    ends = [env.step(torch.zeros(2, 12)) for _ in range(20)]
    # Steps are live tensors of one buffer, flags are not: each end was 10 control steps of 20 ms after the last.
    assert [bool(s.truncated.all()) for s in ends] == [i % 10 == 9 for i in range(20)]
    assert not any(bool(s.terminated.any()) for s in ends)


def test_first_time_outs_are_spread_over_the_episode() -> None:
    env = make(num_envs=400, stagger=True, episode_length_s=0.4)
    env.reset()
    first = [int(env.step(torch.zeros(400, 12)).truncated.sum()) for _ in range(20)]
    assert sum(first) >= 400 and max(first) <= 40, "expected 20 in each of the 20 steps"
    again = [int(env.step(torch.zeros(400, 12)).truncated.sum()) for _ in range(20)]
    assert again == first, "later episodes have their full length"


def test_a_seed_fixes_everything_and_no_seed_goes_on() -> None:
    env = make()
    action = torch.linspace(-1, 1, 12).expand(4, 12)
    runs = []
    env.reset()
    fresh = make(seed=5).reset()["policy"].clone()
    assert torch.equal(fresh, env.reset(seed=5)["policy"]), "the constructor's seed is that of the first reset"
    for seed in (5, 5, None):
        first = env.reset(seed=seed)["policy"].clone()
        runs.append((first, *(env.step(action).obs["policy"].clone() for _ in range(5))))
    assert all(torch.equal(a, b) for a, b in zip(runs[0], runs[1]))
    assert not torch.equal(runs[0][0], runs[2][0])


def test_state_dict_continues_exactly() -> None:
    env, other = make(stagger=True, command={"resample_s": 0.1}), make(seed=9)
    env.reset(seed=3)
    action = torch.linspace(-0.5, 0.5, 12).expand(4, 12)
    for _ in range(5):
        env.step(action)
    other.load_state_dict(env.state_dict())
    other._commands = env._commands
    for _ in range(30):
        a, b = env.step(action), other.step(action)
        assert torch.equal(a.obs["policy"], b.obs["policy"]) and torch.equal(a.reward, b.reward)


def test_a_lost_world_is_ended_counted_and_gone() -> None:
    env = make()
    env.reset()
    before = env.step(torch.zeros(4, 12)).obs["policy"].clone()
    env.sim.engine._qpos[2, 2] = math.nan  # type: ignore[attr-defined]
    step = env.step(torch.zeros(4, 12))
    assert step.log["bad_world"].tolist() == [False, False, True, False]
    assert step.terminated.tolist() == [False, False, True, False] and not step.truncated.any()
    assert step.reward[2] == 0 and torch.equal(step.final_obs["policy"][2], before[2])
    for name, value in step.log.items():
        if name.startswith("reward/"):
            assert torch.isfinite(value).all() and value[2] == 0, name
    assert torch.isfinite(step.obs["policy"]).all()
    step = env.step(torch.zeros(4, 12))
    assert not step.log["bad_world"].any() and not step.terminated.any()


def test_nan_actions_lose_their_own_world_only() -> None:
    env = make()
    env.reset()
    actions = torch.zeros(4, 12)
    actions[1, 3] = math.nan
    assert env.step(actions).log["bad_world"].tolist() == [False, True, False, False]
    for _ in range(3):
        step = env.step(torch.zeros(4, 12))
        assert torch.isfinite(step.obs["policy"]).all() and torch.isfinite(step.reward).all()
        assert not step.log["bad_world"].any()


def test_tilt_and_trunk_contact_are_falls() -> None:
    env = make(num_envs=2)
    env.reset()
    quat = torch.tensor([[math.cos(0.6), 0.0, math.sin(0.6), 0.0], [1.0, 0.0, 0.0, 0.0]])  # pitched by 1.2 rad; level
    height = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 0.056]])  # in the air; trunk on the floor, legs stretched up
    zero, legs = torch.zeros(2, 3), torch.tensor([0.0, 3.0, -1.0] * 4).expand(2, 12)
    env.sim.reset(torch.tensor([True, True]), height, quat, zero, zero, legs, torch.zeros(2, 12))
    assert env.step(torch.zeros(2, 12)).terminated.all()


def test_configured_values_are_the_effective_ones() -> None:
    env = make(num_envs=512, command={"forward_m_s": [0.2, 0.4], "yaw_rad_s": [-0.1, 0.3], "resample_s": 0.04},
               reward={"energy": -0.5, "trot": 0.0}, episode_length_s=4.0, physics_dt=0.005, substeps=4)
    env.reset()
    assert env.max_steps == 200 and env.control_dt == pytest.approx(0.02)
    assert env.sim.model.opt.timestep == pytest.approx(0.005)  # type: ignore[attr-defined]
    command = env.command.clone()
    assert 0.2 <= command[:, 0].min() < 0.21 and 0.39 < command[:, 0].max() <= 0.4
    assert -0.1 <= command[:, 1].min() < -0.08 and 0.28 < command[:, 1].max() <= 0.3
    step = env.step(torch.zeros(512, 12))
    assert torch.equal(env.command, command)
    power = step.log["power_w"].clone()
    torch.testing.assert_close(step.log["reward/energy"], -0.5 * power)
    assert "reward/trot" not in step.log
    env.step(torch.zeros(512, 12))
    assert not torch.equal(env.command, command), "resampled after 0.04 s"
    env.change_options(**env.options())
    env.reset()
    assert 0.2 <= env.command[:, 0].min() < 0.21 and 0.28 < env.command[:, 1].max() <= 0.3
    model, robot = env.sim.model, env.robot  # type: ignore[attr-defined]
    assert model.actuator_gainprm[:, 0].tolist() == list(robot.kp)
    assert model.actuator_biasprm[:, 2].tolist() == [-kd for kd in robot.kd]
    assert model.actuator_forcerange[:, 1].tolist() == pytest.approx(list(robot.torque_limit_nm))


def test_slow_commands_and_standing_are_told_once_fast_ones_are_held() -> None:
    env = make(num_envs=512, command={"first": {"forward_m_s": [0.4, 1.2]}, "stand_share": 0.2})
    env.reset()
    assert 0.4 <= env.command[:, 0].min() < 0.42 and 1.18 < env.command[:, 0].max() <= 1.2
    for _ in range(501):  # 10 s of 0.02 s
        env.widen(torch.full((512,), 0.7))
    env.restart(torch.ones(512, dtype=torch.bool))
    standing = (env.command == 0.0).all(dim=1)
    assert 0.15 < float(standing.float().mean()) < 0.25 and float(env.command[~standing, 0].min()) < 0.02
    assert float(env.measures(env.features(), standing)["command_range"][0]) == 1.0  # type: ignore[index]


@pytest.mark.parametrize(("options", "words"), [
    ({"reward": {"enrgy": 1.0}}, ("'enrgy'", "did you mean 'energy'")),
    ({"reward": {"energy": "much"}}, ("'energy'", "finite number")),
    ({"command": {"speed": 1.0}}, ("'speed'", "forward_m_s")),
    ({"command": {"forward_m_s": [1.0, 0.0]}}, ("forward_m_s", "low <= high")),
    ({"command": {"resample_s": 0}}, ("resample_s", "above 0")),
    ({"robot": "quadrupet"}, ("'quadrupet'", "did you mean 'quadruped'")),
    ({"sim": "bullet"}, ("'bullet'", "mujoco")),
    ({"device": "cuda:0"}, ("'cuda:0'", "device='cpu'")),
    ({"episode_length_s": 0.001}, ("episode_length_s", "0.02")),
    ({"render_mode": "human"}, ("'human'", "rgb_array")),
    ({"episode_lenght_s": 1.0}, ("'episode_lenght_s'", "did you mean 'episode_length_s'")),
    ({"physics_dt": 0.0}, ("physics_dt", "above 0")),
    ({"physics_dt": "a"}, ("physics_dt", "above 0")),
    ({"substeps": 2.5}, ("substeps", "whole number")),
    ({"threads": "x"}, ("threads", "whole number")),
    ({"episode_length_s": "abc"}, ("episode_length_s", "above 0")),
    ({"episode_length_s": math.inf}, ("episode_length_s", "finite")),
    ({"stagger": "maybe"}, ("stagger", "true or false")),
    ({"reward": 5}, ("reward", "mapping")),
    ({"command": 5}, ("command", "mapping")),
    ({"seed": "q"}, ("seed", "whole number")),
])
def test_mistakes_are_one_sentence(options: Dict[str, Any], words: Tuple[str, ...]) -> None:
    with pytest.raises(UserError) as error:
        make_task(ENV, 1, **options)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("count", [0, -1, 1.5, True, "4"])
def test_a_number_of_robots_is_at_least_one(count: Any) -> None:
    with pytest.raises(UserError, match="at least 1"):
        make_task(ENV, count)


def test_wrong_shapes_of_actions_are_refused() -> None:
    env = make()
    env.reset()
    for shape in ((4, 1), (4, 11), (12,)):
        with pytest.raises(UserError, match=r"give \(4, 12\)"):
            env.step(torch.zeros(shape))


def test_a_second_robot_with_another_leg_arrangement() -> None:
    env = make(num_envs=2, robot="anymal")
    obs = env.reset()["policy"]
    assert obs.shape == (2, 44) and env.sim.weight_n / 9.81 > 45
    for _ in range(50):
        step = env.step(torch.zeros(2, 12))
        assert not step.terminated.any()
    assert step.log["foot_contact"].all() and not step.log["knee_contact"].any()


class ScriptedSim:
    """A Simulator whose motions are given as functions of time, not computed: one robot, 50 Hz."""

    def __init__(self, script: Callable[[float], Dict[str, Any]]) -> None:
        self.script = script
        self.num_envs, self.device, self.control_dt = 1, torch.device("cpu"), 0.02
        self.robot: Robot = get_robot("quadruped")
        self.body_names = ("trunk", *self.robot.feet, *self.robot.penalised_bodies)
        self.diverged = torch.zeros(1, dtype=torch.bool)
        self.physics_s, self.weight_n, self.friction = 0.0, 147.0, torch.full((1,), 0.8)
        self.joint_range, self.substeps = torch.tensor([[-3.0, 3.0]]).expand(12, 2), 2
        bodies = len(self.body_names)
        shapes = {"root_pos_w": (1, 3), "root_quat_w": (1, 4), "root_lin_vel_w": (1, 3), "root_ang_vel_b": (1, 3),
                  "joint_pos": (1, 12), "joint_vel": (1, 12), "joint_torque": (1, 12), "foot_pos_w": (1, 4, 3),
                  "contact_force_w": (1, bodies, 3)}
        self.state = SimState(**{name: torch.zeros(shape) for name, shape in shapes.items()})
        self._time = 0.0
        self._show()

    def _show(self) -> None:
        self.state.root_pos_w[0] = torch.tensor([0.0, 0.0, 0.3])
        self.state.root_quat_w[0] = torch.tensor([1.0, 0.0, 0.0, 0.0])
        self.state.joint_pos[0] = torch.tensor(self.robot.default_joint_pos)
        for name in ("root_lin_vel_w", "root_ang_vel_b", "joint_vel", "joint_torque", "foot_pos_w", "contact_force_w"):
            getattr(self.state, name).zero_()
        self.state.contact_force_w[0, 1:5, 2] = self.weight_n / 4
        for name, value in self.script(self._time).items():
            if name == "feet":  # (contact, height m, forward position m) of each foot
                for i, (contact, height, x) in enumerate(value):
                    self.state.contact_force_w[0, 1 + i, 2] = self.weight_n / 2 if contact else 0.0
                    self.state.foot_pos_w[0, i, 0], self.state.foot_pos_w[0, i, 2] = x, height
            elif name == "trunk_force":
                self.state.contact_force_w[0, 0, 2] = value
            else:
                getattr(self.state, name)[0] = torch.as_tensor(value)

    def step(self, targets: torch.Tensor) -> None:
        self._time += self.control_dt
        self._show()

    def reset(self, mask: torch.Tensor, *state: torch.Tensor) -> None:
        if bool(mask.any()):
            self._time = 0.0
            self._show()

    def make_renderer(self, width: int, height: int, num_robots: int = 1) -> Any:
        raise NotImplementedError("a script has no pictures.")

    def make_viewer(self) -> Any:
        raise NotImplementedError("a script has no window.")

    def state_dict(self) -> Dict[str, Any]:
        return {"time": self._time}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._time = state["time"]

    def close(self) -> None:
        self._time = 0.0


def walk(speed: float) -> Callable[[float], Dict[str, Any]]:
    """A trot at 2 Hz: 120 W of joint power, feet lifted by 8 cm, the trunk bouncing at 0.1 m/s."""
    def script(t: float) -> Dict[str, Any]:
        feet = []
        for offset in (0.0, 0.5, 0.5, 0.0):
            phase = (2.0 * t + offset) % 1.0
            swing = max(0.0, (phase - 0.5) / 0.5)
            in_air = phase > 0.5
            stride = speed / 2.0
            x = speed * t + (stride * (swing - 0.5) if in_air else stride * (0.5 - phase / 0.5))
            feet.append((not in_air, 0.08 * math.sin(math.pi * swing) if in_air else 0.0, x))
        wave = math.sin(4 * math.pi * t)
        return {"feet": feet, "root_lin_vel_w": [speed, 0.03 * wave, 0.1 * wave],
                "root_ang_vel_b": [0.2 * wave, 0.3 * wave, 0.05 * wave],
                "joint_vel": [2.0] * 12, "joint_torque": [5.0] * 12}
    return script


def fall(t: float) -> Dict[str, Any]:
    """Lunges forward at 1 m/s while pitching over, and hits the ground after 0.8 s."""
    pitch = min(1.5 * t, 1.4)
    return {"root_lin_vel_w": [1.0, 0.0, -0.2], "root_quat_w": [math.cos(pitch / 2), 0.0, math.sin(pitch / 2), 0.0],
            "joint_vel": [3.0] * 12, "joint_torque": [8.0] * 12, "trunk_force": 200.0 if t > 0.8 else 0.0}


def episode_reward(script: Callable[[float], Dict[str, Any]], length_s: float = 20.0) -> Tuple[float, int]:
    """Reward and length of an episode at the command (1, 0)."""
    env = QuadrupedFlat(sim=ScriptedSim(script), stagger=False, episode_length_s=length_s,  # type: ignore[arg-type]
                        command={"forward_m_s": 1.0, "yaw_rad_s": 0.0, "resample_s": 1e6})
    env.reset(seed=0)
    total, action = 0.0, torch.zeros(1, 12)
    for i in range(1000):
        action = -action if i % 5 else 0.2 * torch.sign(torch.sin(torch.arange(12.0) + i))[None]
        step = env.step(action)
        total += float(step.reward)
        if bool(step.terminated | step.truncated):
            return total, i + 1
    raise AssertionError("the episode has no end")


def test_the_scale_of_the_reward() -> None:
    """Above 300 an episode walks; standing, falling forward and running backward are below 100.

    A fifth of an episode in which nothing changes has a fifth of its reward.
    """
    reward, length = episode_reward(walk(1.0))
    assert length == 1000 and 300 < reward < 1200
    standing, length = episode_reward(lambda t: {}, length_s=4.0)
    assert length == 200 and standing < 100 / 5
    falling, length = episode_reward(fall)
    assert length < 60 and falling < 100
    backward, length = episode_reward(walk(-1.0), length_s=4.0)
    assert length == 200 and backward < 100 / 5


def test_the_reward_prefers_the_commanded_speed() -> None:
    rewards = [episode_reward(walk(speed), length_s=3.0)[0] for speed in (0.0, 0.4, 0.7, 0.9, 1.0, 1.1, 1.3)]
    assert rewards.index(max(rewards)) == 4
    assert rewards[:5] == sorted(rewards[:5]) and rewards[4:] == sorted(rewards[4:], reverse=True)


def test_every_term_bears_the_sign_of_its_name() -> None:
    positive = {name for name, term in QuadrupedFlat.REWARD.items() if term.weight > 0}
    assert positive == {"forward_velocity", "trot", "air_time", "stand"}


def test_a_bound_lands_no_foot_in_turn() -> None:
    """Feet front left, front right, rear left, rear right."""
    landed = torch.tensor([[True, True, False, False], [True, False, False, True], [True, False, False, False]])
    stands = torch.tensor([[False, False, True, True], [False, True, True, False], [False, False, True, True]])
    assert gait.in_turn(landed, landed | stands).tolist() == [
        [False] * 4, [True, False, False, True], [False] * 4]


def test_pairs_in_the_air() -> None:
    """Feet front left, front right, rear left, rear right, and a fifth that has none across from it."""
    stands, trots, bounds, flies = [True] * 4, [True, False, False, True], [False, False, True, True], [False] * 4
    contact = torch.tensor([stands, trots, bounds, flies])
    assert gait.pairs_in_air(contact).tolist() == [0.0, 0.0, 1.0, 2.0]
    assert gait.pairs_in_air(torch.cat((contact, contact[:, :1] & False), dim=1)).tolist() == [0.0, 0.0, 1.0, 2.0]


def test_effort_costs_by_size() -> None:
    """An ANYmal of 52.13 kg and 0.5364 m may use 52.13 / 15.017 of the power, that times 0.5364 / 0.3223 of the torque,
    for the same reward."""
    for robot, mass, height in (("quadruped", 15.017, 0.3223), ("anymal", 52.13, 0.5364)):
        env = QuadrupedFlat(2, robot=robot, stagger=False, threads=1, seed=0)
        env.reset()
        step = env.step(torch.full((2, 12), 0.3))
        heavier, torque = mass / 15.017, env.sim.state.joint_torque
        torch.testing.assert_close(step.log["reward/energy"], -1e-4 * step.log["power_w"] / heavier, rtol=1e-4, atol=0)
        expected = -2e-6 * torque.square().sum(dim=1) / (heavier * height / 0.3223)**2
        torch.testing.assert_close(step.log["reward/torque"], expected, rtol=1e-3, atol=0)
        assert (env.power_scale == env.torque_scale == 1.0) == (robot == "quadruped")
        env.close()
