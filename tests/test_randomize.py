"""What each robot has of its own: how it is drawn, what it does, and that it is saved."""

from __future__ import annotations

import math
from typing import Any, Dict, Iterator

import pytest
import torch
from host_sync import Guard

from sb3_isaac.contract.errors import UserError
from sb3_isaac.tasks import make_task, task_class
from sb3_isaac.tasks.parts.legged_parameters import PARAMETERS
from sb3_isaac.tasks.parts.randomize import Each, Randomization, Uniform, randomize_table
from sb3_isaac.tasks.parts.sensing import LateTargets, Noise, Sensors
from sb3_isaac.testing import check_tensor_env

pytest.importorskip("mujoco")


FLAT = "IsaacQuadrupedFlat-v0"
EVERYTHING: Dict[str, Any] = {
    "payload_kg": [-3, 3], "mass": {"range": [0.9, 1.1], "when": "interval", "interval_s": 0.1}, "com": [-0.02, 0.02],
    "friction": [0.4, 1.25], "kp": [0.9, 1.1], "kd": [0.9, 1.1], "motor_strength": [0.9, 1.1],
    "armature": {"range": [0.8, 1.2], "when": "reset"}, "gravity": [-0.1, 0.1], "joint_offset": [-0.02, 0.02],
    "latency_s": [0.0, 0.05], "obs_latency_s": [0.0, 0.03], "noise_level": [0, 2],
    "push": {"range": [0.0, 0.5], "interval_s": 0.2},
    "obs_noise": {"joint_pos": 0.01, "joint_vel": {"noise": 1.5, "bias": 0.1}}}


class Dice:
    """What a table of draws needs of a task: numbers and tensors, here of 10^5 robots and no simulator."""

    num_envs, control_dt, device = 100_000, 0.02, torch.device("cpu")

    def __init__(self, seed: int = 0) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.robot = type("Robot", (), {"joints": range(12)})

    def zeros(self, *shape: int) -> torch.Tensor:
        return torch.zeros(self.num_envs, *shape)

    def uniform(self, out: torch.Tensor) -> torch.Tensor:
        return out.uniform_(-1.0, 1.0, generator=self.generator)


def parameters() -> Dict[str, Any]:
    """The parameters, with nothing that acts on a simulator."""
    return {name: parameter._replace(apply=None, needs=()) for name, parameter in PARAMETERS.items()}


def rolled(dice: Any, **given: Any) -> Randomization:
    table = randomize_table(PARAMETERS, given)
    made = Randomization(dice, parameters(), table)
    made.start(torch.ones(dice.num_envs, dtype=torch.bool), first_time=True)
    return made


def test_draws_of_every_parameter_fill_their_range_and_are_independent() -> None:
    """A uniform distribution has the mean of its ends, and a standard deviation of its width / √12."""
    given = {name: value for name, value in EVERYTHING.items() if name != "obs_noise"}
    assert given.keys() == PARAMETERS.keys()
    first, second = rolled(Dice(), **given).draws, rolled(Dice(), **given).draws
    other = rolled(Dice(1), **given).draws
    for name, value in given.items():
        low, high = value["range"] if isinstance(value, dict) else value
        drawn, width = first[name], high - low
        assert float(drawn.min()) == pytest.approx(low, abs=1e-3 * width) and float(drawn.min()) >= low - 1e-6
        assert float(drawn.max()) == pytest.approx(high, abs=1e-3 * width) and float(drawn.max()) <= high + 1e-6
        assert drawn.mean(dim=0).tolist() == pytest.approx([0.5 * (low + high)] * drawn.shape[1], abs=0.005 * width)
        assert drawn.std(dim=0).tolist() == pytest.approx([width / math.sqrt(12)] * drawn.shape[1], rel=0.01)
        assert torch.equal(drawn, second[name]) and not torch.equal(drawn, other[name])
    columns = torch.cat([*first.values()], dim=1).t()
    neighbours = torch.cat((columns[:, 1:], columns[:, :1]), dim=1)
    both = torch.corrcoef(torch.cat((columns, neighbours)))  # of a robot's draws, and of those of the next robot
    assert float((both - torch.eye(len(both))).abs().max()) < 6.0 / math.sqrt(Dice.num_envs)


def test_a_tasks_own_numbers_are_as_good() -> None:
    """The numbers of 16 bits that tasks draw: 10^5 of them, by robots."""
    env = make_task(FLAT, 1, threads=1, seed=0)
    drawn = env.uniform(torch.zeros(100_000, 2))  # type: ignore[attr-defined]
    assert float(drawn.min()) == -1.0 and float(drawn.max()) == 1.0 - 2.0**-15
    assert drawn.mean(dim=0).tolist() == pytest.approx([0.0, 0.0], abs=0.01)
    assert drawn.std(dim=0).tolist() == pytest.approx([1 / math.sqrt(3)] * 2, rel=0.01)
    env.close()


def test_each_robot_draws_when_its_moment_comes() -> None:
    dice = Dice()
    made = rolled(dice, friction=[0.4, 1.2], joint_offset=[-0.1, 0.1], push={"range": [0, 1], "interval_s": 2.0})
    before = {name: draws.clone() for name, draws in made.draws.items()}
    began = torch.arange(dice.num_envs) % 2 == 0
    made.start(began, first_time=False)
    assert torch.equal(made.draws["friction"], before["friction"])  # at startup
    changed = (made.draws["joint_offset"] != before["joint_offset"]).all(dim=1)
    assert torch.equal(changed, began)
    made.go_on(control_dt=0.02)
    pushed = made.draws["push"][:, 0] != before["push"][:, 0]
    assert float(pushed.float().mean()) == pytest.approx(0.02 / 2.0, rel=0.1)


def test_ranges_widen_while_commands_are_followed() -> None:
    made = rolled(Dice(), payload_kg={"range": [-3, 3], "when": "reset", "first": [0, 1]})
    everyone = torch.ones(Dice.num_envs, dtype=torch.bool)
    assert made.widens and float(made.draws["payload_kg"].max()) == pytest.approx(1.0, abs=1e-3)
    made.widened(torch.tensor(False), 0.5)
    made.widened(torch.tensor(True), 0.5)
    made.start(everyone, first_time=False)
    drawn = made.draws["payload_kg"]
    assert [float(drawn.min()), float(drawn.max())] == pytest.approx([-1.5, 2.0], abs=1e-3)
    for _ in range(3):
        made.widened(torch.tensor(True), 0.5)
    made.start(everyone, first_time=False)
    assert [float(drawn.min()), float(drawn.max())] == pytest.approx([-3.0, 3.0], abs=1e-3)


def test_evaluations_draw_from_whole_ranges() -> None:
    given = {"latency_s": {"range": [0, 0.05], "first": [0, 0.01]}, "push": Uniform(0, 1, first=(0, 0.1)), "kp": [1, 2]}
    options = task_class(FLAT).evaluation_options({"randomize": given})["randomize"]
    assert options == {"latency_s": {"range": [0, 0.05]}, "push": Uniform(0, 1), "kp": [1, 2]}


def test_values_are_told_out_in_turn() -> None:
    made = rolled(Dice(), friction=Each((0.4, 0.8, 1.2)), kp={"each": [0.9, 1.1]})
    assert made.draws["friction"][:4, 0].tolist() == pytest.approx([0.4, 0.8, 1.2, 0.4])
    assert made.draws["kp"][:2].tolist() == [pytest.approx([0.9] * 12), pytest.approx([1.1] * 12)]


# ---- late and wrong


def test_targets_reach_the_drives_late_to_the_physics_step() -> None:
    """Three physics steps of 5 ms in a control step; told 1, 2, 3, ... in turn, after 0."""
    latency_s = torch.tensor([0.0, 0.005, 0.012, 0.015, 0.031])
    late = LateTargets(0.031, 0.005, 3, torch.zeros(5, 2))
    seen = torch.cat([late.step(torch.full((5, 2), float(told)), latency_s)[..., 0] for told in (1, 2, 3)])
    assert seen.t().tolist() == [[1, 1, 1, 2, 2, 2, 3, 3, 3], [0, 1, 1, 1, 2, 2, 2, 3, 3], [0, 0, 1, 1, 1, 2, 2, 2, 3],
                                 [0, 0, 0, 1, 1, 1, 2, 2, 2], [0, 0, 0, 0, 0, 0, 1, 1, 1]]
    late.restart(torch.tensor([True, False, False, False, True]), torch.full((5, 2), 7.0))
    assert late.step(torch.full((5, 2), 4.0), latency_s)[:, ::4, 0].tolist() == [[4, 7], [4, 7], [4, 7]]


def test_sensors_are_late_between_control_steps_too() -> None:
    """An observation that grows by 1 a control step of 20 ms was 1.5 less 30 ms ago; before the start there was 0."""
    dice = Dice()
    dice.num_envs = 3  # type: ignore[misc]
    sensors = Sensors(dice, {"joint_pos": 1, "command": 1}, ("command",), {}, most_s=0.03)
    draws = {"obs_latency_s": torch.tensor([[0.0], [0.02], [0.03]])}
    seen = []
    for k in range(4):
        if k:
            sensors.go_on()
        obs = torch.full((3, 2), float(k))
        sensors.tell(obs, draws)
        again = torch.full((3, 2), float(k))
        sensors.tell(again, draws)
        assert torch.equal(obs, again) and obs[:, 1].tolist() == [k] * 3
        seen.append(obs[:, 0].tolist())
    assert seen == [pytest.approx(x) for x in ([0, 0, 0], [1, 0, 0], [2, 1, 0.5], [3, 2, 1.5])]
    sensors.start(torch.tensor([False, False, True]), first_time=False)
    obs = torch.full((3, 2), 9.0)
    sensors.tell(obs, draws)  # between control steps only those that restarted are anew
    assert obs[:, 0].tolist() == pytest.approx([3, 2, 9])


def test_whether_to_stand_is_known_at_once() -> None:
    """It is read off the command, which no sensor tells: it changes in the step in which the command does."""
    task = make_task("IsaacQuadrupedVelocity-v0", 2, seed=0, threads=1, stagger=False,
                     randomize={"obs_latency_s": 0.06}, command={
                         "sequence": [dict.fromkeys(("forward_m_s", "left_m_s", "yaw_rad_s"), speed)
                                      for speed in (0.5, 0.0)],
                         "resample_s": 0.1, "random_times": False, "together": True})
    task.reset()
    told = []
    for _ in range(10):
        step = task.step(torch.zeros(2, 12))
        standing = (task.command.abs().amax(dim=1) <= 0.1).float()
        assert torch.equal(step.obs["policy"][:, -1], standing)
        told.append(float(standing[0]))
    task.close()
    assert list(task.obs_table)[-1] == "told_to_stand" and set(told) == {0.0, 1.0}


def test_nothing_is_left_of_a_world_that_diverged() -> None:
    """Its targets and sensors were NaN in the step in which it did; then its episode began anew."""
    late = LateTargets(0.04, 0.01, 2, torch.zeros(2, 1))
    latency_s = torch.full((2,), 0.04)
    for told in (1.0, float("nan")):
        late.step(torch.full((2, 1), told), latency_s)
    late.restart(torch.tensor([True, True]), torch.full((2, 1), 7.0))
    assert late.step(torch.full((2, 1), 8.0), latency_s).unique().tolist() == [7.0]
    dice = Dice()
    dice.num_envs = 2  # type: ignore[misc]
    sensors = Sensors(dice, {"joint_pos": 1}, (), {}, most_s=0.04)
    draws, seen = {"obs_latency_s": torch.full((2, 1), 0.03)}, []
    sensors.go_on()
    sensors.tell(torch.full((2, 1), float("nan")), draws)
    sensors.start(torch.tensor([True, True]), first_time=False)
    for _ in range(3):
        obs = torch.full((2, 1), 5.0)
        sensors.tell(obs, draws)
        seen.append(obs[0, 0].item())
        sensors.go_on()
    assert seen == [5.0, 5.0, 5.0]


def test_numbers_of_an_earlier_release_are_read() -> None:
    """It kept what was told in a ring whose newest was at a place that moved, here at 1 of 3."""
    late = LateTargets(0.04, 0.01, 2, torch.zeros(1, 1))
    ring = torch.tensor([[[2.0]], [[3.0]], [[1.0]]])
    late.load_state_dict({"ring": ring, "at": 1, "age": torch.tensor([5])})
    assert late.step(torch.tensor([[4.0]]), torch.tensor([0.04]))[..., 0].tolist() == [[2.0], [2.0]]
    assert late.state_dict()["rows"][:, 0, 0].tolist() == [4.0, 3.0, 2.0]


def test_noise_and_bias_have_their_size_and_level() -> None:
    dice = Dice()
    noise = {"joint_pos": Noise(0.1), "joint_vel": Noise(0.2, 1.0)}
    sensors = Sensors(dice, {"joint_pos": 2, "command": 1, "joint_vel": 1}, ("command",), noise, None)
    sensors.start(torch.ones(dice.num_envs, dtype=torch.bool), first_time=True)
    level = torch.ones(dice.num_envs, 1)
    level[::2] = 0.0
    told = []
    for _ in range(2):
        obs = torch.zeros(dice.num_envs, 4)
        sensors.tell(obs, {"noise_level": level})
        told.append(obs)
        sensors.go_on()
    first, second = told
    assert not first[::2].any() and not first[:, 2].any()
    assert first[1::2, :2].std(dim=0).tolist() == pytest.approx([0.1 / math.sqrt(3)] * 2, rel=0.02)
    assert float(first[1::2].abs().max()) <= 1.2
    assert float((first - second)[1::2, 3].abs().max()) <= 0.4 and not torch.equal(first, second)  # the bias stays
    bias = torch.corrcoef(torch.stack((first[1::2, 3], second[1::2, 3])))[0, 1]
    assert float(bias) == pytest.approx(1.0 / (1.0 + 0.04), abs=0.01)


# ---- in the task


@pytest.fixture(scope="module")
def env() -> Iterator[Any]:
    made = make_task(FLAT, 8, threads=1, seed=0, privileged=True, episode_length_s=0.4, randomize=EVERYTHING)
    yield made
    made.close()


def test_a_task_with_everything_keeps_the_contract(env: Any) -> None:
    """Also that one seed gives the same, and that a saved one goes on with the same draws, bit for bit."""
    check_tensor_env(env)


def test_no_step_waits_for_the_device(env: Any) -> None:
    """Through restarts, pushes and draws at all moments."""
    env.reset(seed=1)
    with Guard(["engine/cpu.py", "contract/device.py"]):
        for _ in range(8):
            env.step(torch.zeros(8, 12))


def test_the_physics_is_as_drawn(env: Any) -> None:
    env.reset(seed=3)
    draws, sim = env.randomization.draws, env.sim
    trunk_kg = 6.921 * draws["mass"] + draws["payload_kg"]
    torch.testing.assert_close(sim.get_param("trunk_mass"), trunk_kg[:, 0], rtol=1e-5, atol=0.0)
    torch.testing.assert_close(env.features().friction, draws["friction"][:, 0])
    torch.testing.assert_close(sim.get_param("com"), draws["com"])
    kp = torch.tensor(env.robot.kp) * draws["kp"] * draws["motor_strength"]
    torch.testing.assert_close(sim.engine.model_field("actuator_gainprm")[..., 0], kp)
    total = sim.engine.model_field("body_subtreemass")[:, 0]  # which MuJoCo derives
    torch.testing.assert_close(total, sim.engine.model_field("body_mass").sum(dim=1))
    assert float(total.std()) > 0.5


def test_the_critic_sees_the_truth_and_the_draws(env: Any) -> None:
    obs = env.reset(seed=3)
    for _ in range(4):
        obs = env.step(torch.rand(8, 12) - 0.5).obs
    assert env.obs_table == {"joint_pos": 12, "joint_vel": 12, "last_action": 12, "imu_ang_vel_b": 3,
                             "imu_gravity_b": 3, "command": 2}
    ends = torch.tensor([*env._widths["critic"].values()]).cumsum(0).tolist()
    part = {name: obs["critic"][:, end - width:end] for (name, width), end in zip(env._widths["critic"].items(), ends)}
    features = env.features()
    assert torch.equal(part["true_joint_pos"], features.joint_pos)
    assert torch.equal(part["true_imu_gravity_b"], features.gravity_b)
    assert not torch.equal(obs["policy"][:, :12], features.joint_pos)
    assert torch.equal(obs["policy"][:, 24:36], env.action) and torch.equal(obs["policy"][:, 42:], env.command)
    assert torch.equal(part["kp"], env.randomization.draws["kp"]) and "push" not in part
    mirror = env.mirror().observation["critic"]
    assert len(mirror.source) == obs["critic"].shape[1]


def test_an_encoder_that_is_off_moves_the_joint_and_hides_it() -> None:
    """Held in the air, a joint goes to where its encoder tells the target: off the truth by the offset."""
    env = make_task(FLAT, 2, threads=1, seed=0, randomize={"joint_offset": Each((0.0, 0.1))}, termination={
        "tilt": None, "trunk_contact": None})
    env.reset(seed=0)
    env.sim.set_param("gravity", torch.zeros(2, 3))  # type: ignore[attr-defined]
    for _ in range(100):
        obs = env.step(torch.zeros(2, 12)).obs["policy"]
    assert (env.features().joint_pos[1]).tolist() == pytest.approx([-0.1] * 12, abs=0.02)  # type: ignore[attr-defined]
    assert obs[:, :12].abs().max() < 0.02
    env.close()


def test_pushes_come_from_all_sides_as_hard_as_told() -> None:
    env = make_task(FLAT, 64, threads=1, seed=0, randomize={"push": {"range": 0.5, "interval_s": 1e-6}})
    env.reset(seed=0)
    before = env.sim.state.root_lin_vel_w.clone()  # type: ignore[attr-defined]
    env.randomization.go_on(0.02)  # type: ignore[attr-defined]
    blow = env.sim.state.root_lin_vel_w - before  # type: ignore[attr-defined]
    assert blow.norm(dim=1).tolist() == pytest.approx([0.5] * 64, rel=1e-5) and not blow[:, 2].any()
    assert float(blow[:, :2].mean(dim=0).norm()) < 0.15
    env.close()


def test_a_task_without_randomisation_is_as_it_was() -> None:
    env = make_task(FLAT, 2, threads=1, seed=0)
    assert env.randomization.draws == {} and "randomization" not in env.state_dict()  # type: ignore[attr-defined]
    env.close()


@pytest.mark.parametrize(("given", "said"), [
    ({"frictoin": [0, 1]}, r"unknown parameter 'frictoin' in randomize: did you mean 'friction'"),
    ({"friction": [1.0, 0.4]}, r"randomize friction is \[1.0, 0.4\]: give a number, or \[low, high\] with low <= high"),
    ({"mass": [-0.5, 1.0]}, r"randomize mass is from -0.5 to 1: give values from 0.01 to 100"),
    ({"payload_kg": [-7, 3]}, r"randomize payload_kg goes down to -7 kg, which leaves nothing of a trunk of 6.92 kg"),
    ({"latency_s": [0, 2.0]}, r"randomize latency_s is from 0 to 2: give values from 0 to 1"),
    ({"friction": {"rnage": [0, 1]}}, r"unknown setting 'rnage' in randomize friction: did you mean 'range'"),
    ({"friction": {"when": "reset"}}, r"randomize friction is .*: give it a range \[low, high\], or with each"),
    ({"friction": {"range": [0, 1], "when": "later"}}, r"unknown moment 'later' in randomize friction"),
    ({"friction": {"range": [0, 1], "first": [0.5, 0.6]}}, r"friction is drawn at startup, so its range cannot widen"),
    ({"latency_s": {"range": [0, 0.05], "first": [0, 0.06]}}, r"randomize latency_s first is .*: give a part of"),
    ({"push": {"range": [0, 1], "when": "reset"}}, r"randomize push is drawn at reset, and a push is at a moment"),
    ({"noise_level": [0, 1]}, r"noise_level is a factor of obs_noise, and there is none"),
    ({"obs_noise": {"joint_pso": 0.1}}, r"unknown sensor 'joint_pso' in randomize obs_noise: did you mean 'joint_pos'"),
    ({"obs_noise": {"command": 0.1}}, r"unknown sensor 'command' in randomize obs_noise"),
    ({"obs_noise": {"joint_pos": -0.1}}, r"randomize obs_noise joint_pos is -0.1: give a number of at least 0"),
    ({"kp": {"each": []}}, r"randomize kp each is \[\]: give a list of numbers"),
    ({"friction": float("nan")}, r"randomize friction is nan: give a number"),
    ("friction", r"randomize is 'friction': give a mapping"),
])
def test_what_cannot_be_drawn_is_one_sentence(given: Any, said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        make_task(FLAT, 1, threads=1, randomize=given)
    assert str(error.value).count(". ") == 0


def test_a_simulator_that_lacks_a_parameter_says_so() -> None:
    import sys

    before = {name for name in sys.modules if name.split(".")[0] == "isaacgym"}
    with pytest.raises(UserError, match=r"unknown parameter 'gravity' in sim='isaacgym': valid are"):
        make_task(FLAT, 1, threads=1, sim="isaacgym", randomize={"gravity": Uniform(-0.1, 0.1)})
    for name in [name for name in sys.modules if name.split(".")[0] == "isaacgym" and name not in before]:
        del sys.modules[name]
