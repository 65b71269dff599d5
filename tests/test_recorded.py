"""A recorded step is the step: the same numbers to the last bit, whatever is changed in between.

On a CPU a tape stands in for CUDA's graphs (see tape.py): like them it knows nothing but operations on memory. Where
there is a GPU, the same is shown of graphs.
"""

from __future__ import annotations

import warnings
from typing import Any, Dict, Iterator, List, Tuple

import pytest
import torch

pytest.importorskip("mujoco")
from tape import RecordedEngine, TapeRecorder, work

from sb3_isaac import PPO, IsaacVecEnv, VecNormalize
from sb3_isaac.contract.recorded import Contents, Recorded
from sb3_isaac.contract.recorder import Recorder
from sb3_isaac.contract.tensor_env import Step, TensorEnv
from sb3_isaac.engine.cpu import CpuEngine
from sb3_isaac.rl.algo.recorded_update import RecordedUpdate
from sb3_isaac.sim.mujoco import MujocoSimulator
from sb3_isaac.tasks import make_task
from sb3_isaac.tasks.double_pendulum import DoublePendulum

DEVICES = ["cpu", *(["cuda:0"] if torch.cuda.is_available() else [])]
N = 8
RANDOMIZE: Dict[str, Any] = {
    "friction": {"range": [0.4, 1.2], "when": "reset"}, "payload_kg": {"range": [-1.0, 1.0], "when": "reset"},
    "kp": [0.9, 1.1], "latency_s": [0.0, 0.03], "obs_noise": {"joint_pos": {"noise": 0.01, "bias": 0.02}},
    "obs_latency_s": [0.0, 0.05], "joint_offset": [-0.05, 0.05], "push": {"range": [0.0, 0.3], "interval_s": 0.1}}


class Pendulum(DoublePendulum):
    """Recorded on a CPU too."""

    def setup(self, num_envs: int, device: torch.device, **options: Any) -> None:
        self.recorder = Recorder(device) if device.type == "cuda" else TapeRecorder()
        super().setup(num_envs, device, **options)


def pendulums(device: str, cls: type = Pendulum, **options: Any) -> List[Any]:
    made = [of(N, device=device, seed=0, episode_length_s=0.2, **options) for of in (DoublePendulum, cls)]
    for env in made:
        env.reset(seed=3)
    return made


def is_recorded(env: Any) -> bool:
    return env._advanced._parts is not None


def run(pair: List[Any], steps: int) -> None:
    """Both do the same, to the last bit."""
    generator = torch.Generator().manual_seed(steps)
    for k in range(steps):
        actions = (torch.rand(N, *pair[0].action_space.shape, generator=generator) * 2 - 1).to(pair[0].device)
        equal(pair[0].step(actions), pair[1].step(actions), f"step {k}")


def equal(left: Any, right: Any, where: str) -> None:
    if isinstance(left, dict):
        assert left.keys() == right.keys()
    if isinstance(left, (dict, tuple)):
        names = left if isinstance(left, dict) else range(len(left))
        for name in names:
            equal(left[name], right[name], f"{where}, {name}")
    else:
        assert torch.equal(left, right), where


@pytest.mark.parametrize(("task", "options"), [
    ("IsaacQuadrupedFlat-v0", {"randomize": RANDOMIZE}),
    ("IsaacQuadrupedVelocity-v0", {"privileged": True, "clock": True, "command": {"resample_s": 0.1}}),
    ("IsaacAnt-v0", {}),
    ("IsaacQuadrupedRough-v0", {}),
])
def test_a_recorded_task_is_that_task(task: str, options: Dict[str, Any], unread: None,
                                      monkeypatch: pytest.MonkeyPatch) -> None:
    """Robots fall, run out of time, are pushed and drawn anew; a state saved is gone on from."""
    pair: List[Any] = []
    for engine in (CpuEngine, RecordedEngine):
        monkeypatch.setitem(MujocoSimulator.__init__.__kwdefaults__, "engine", engine)
        pair.append(make_task(task, N, threads=1, seed=0, episode_length_s=0.2, **options))
    for env in pair:
        env.reset(seed=3)
    run(pair, 14)
    assert is_recorded(pair[1])
    assert sum(map(work, pair[1]._advanced._parts)) > 200
    saved = pair[0].state_dict()
    for env in pair:
        env.load_state_dict(saved)
    run(pair, 6)
    assert is_recorded(pair[1])
    for env in pair:
        env.close()


@pytest.mark.parametrize("device", DEVICES)
def test_what_is_changed_in_between_counts(device: str, unread: None) -> None:
    pair = pendulums(device)
    run(pair, 12)
    assert is_recorded(pair[1])
    for change in (lambda env: env.reset(seed=5), lambda env: env.change_options(reward={"effort": -0.5}),
                   lambda env: env.restart(torch.arange(N, device=env.device) < 3),
                   lambda env: setattr(env, "max_steps", 7), lambda env: env.angle.add_(0.01),
                   lambda env: env.rewards.update(height=env.rewards["height"]._replace(weight=2.0))):
        for env in pair:
            change(env)
        run(pair, 5)
    assert is_recorded(pair[1])
    first, second = (pair[1].step(torch.zeros(N, 2, device=device)) for _ in range(2))
    assert first is not second and first.reward is second.reward, "a step of its own, of the same memory"


class Counts(Pendulum):
    """Acts by a number that Python counts."""

    count = 0

    def act(self, actions: torch.Tensor) -> torch.Tensor:
        self.count += 1
        return super().act(actions * self.count)


class Binds(Pendulum):
    """Keeps a new tensor at each step."""

    def act(self, actions: torch.Tensor) -> torch.Tensor:
        self.before = actions + getattr(self, "before", 0.0)
        return super().act(self.before)


def countdown() -> Any:
    left = [100]

    def term(f: Any) -> torch.Tensor:
        left[0] -= 1
        return left[0] * f.height

    return term


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("cls", "options", "name"), [
    (Counts, {}, "count"), (Binds, {}, "before"), (Pendulum, {"reward": "countdown"}, r".*left\[0\]")])
def test_what_cannot_be_repeated_is_said_in_a_sentence(device: str, cls: type, options: Any, name: str) -> None:
    made = [cls(N, device=device, seed=0, **({"reward": {"down": (1.0, countdown())}} if options else {}))
            for _ in range(2)]
    made[0]._advanced.plain = True
    for env in made:
        env.reset(seed=3)
    with pytest.warns(UserWarning, match=f"each step of {cls.__name__} is told to the GPU by Python.*it changes {name}"
                                         ".*pass cuda_graphs=False") as told:
        run(made, 6)
    assert len(told) == 1


@pytest.mark.skipif(len(DEVICES) == 1, reason="there is no GPU")
def test_a_wait_for_the_gpu_is_named_by_its_line() -> None:
    made = pendulums("cuda:0", reward={"waits": (0.1, lambda f: f.height * float(f.height.sum() > -99))})
    with pytest.warns(UserWarning, match=r"it waits for the GPU at .*test_recorded.py:\d+") as told:
        run(made, 6)
    assert len(told) == 1


@pytest.mark.skipif(len(DEVICES) == 1, reason="there is no GPU")
def test_a_recording_that_fails_is_a_plain_call_and_others_are_recorded_after_it() -> None:
    device = torch.device("cuda:0")
    x, recorder = torch.ones(3, device=device), Recorder(device)
    with pytest.raises(RuntimeError):
        recorder.record(lambda: (x + torch.randn(3, device=device)).sum().item())
    torch.manual_seed(0)
    plain = [x + torch.randn(3, device=device) for _ in range(5)]
    torch.manual_seed(0)
    repeated = Recorded(lambda: x + torch.randn(3, device=device), recorder)
    equal(tuple(plain), tuple(repeated().clone() for _ in range(5)), "random numbers go on")
    assert repeated._parts is not None


def test_what_is_outside_takes_its_place() -> None:
    recorder, x = TapeRecorder(), torch.zeros(3)
    seen: List[float] = []

    def both() -> None:
        x.add_(1.0)
        recorder.outside(lambda: seen.append(float(x[0])))
        x.mul_(2.0)

    parts, _ = recorder.record(both)
    assert seen == [] and x.tolist() == [0.0] * 3, "recorded, not done"
    for _ in range(2):
        for part in parts:
            part()
    assert seen == [1.0, 3.0] and x.tolist() == [6.0] * 3
    recorder.outside(lambda: seen.append(0.0))
    assert seen == [1.0, 3.0, 0.0], "done at once where nothing is recorded"


# ---- learning


def on_tape(env: VecNormalize) -> None:
    """Statistics and normaliser recorded on tapes, as they are by graphs on a GPU."""
    statistics = env.venv.statistics  # type: ignore[attr-defined]
    env._recorded = Recorded(env._take_in, TapeRecorder())
    statistics._recorder = TapeRecorder()
    statistics._taken_in = Recorded(statistics._take_in, statistics._recorder, copied=1)


def learner(device: str, recorded: bool, target_kl: Any) -> Tuple[PPO, Any]:
    pendulum = (Pendulum if recorded else DoublePendulum)(N, device=device, seed=0, episode_length_s=0.2)
    env = VecNormalize(IsaacVecEnv(pendulum, seed=3))
    model = PPO("MlpPolicy", env, n_steps=16, batch_size=32, n_epochs=4, seed=1, device=device, target_kl=target_kl,
                learning_rate=3e-3, cuda_graphs=recorded)
    if recorded and device == "cpu":
        on_tape(env)
        model._recorder = TapeRecorder()
        model._acted, model._update = Recorded(model._act, model._recorder, copied=1), RecordedUpdate(
            model, model._recorder)
    return model, env


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("target_kl", [None, 0.01])
def test_a_recorded_training_is_that_training(device: str, target_kl: Any, unread: None) -> None:
    """Policy, statistics and log, to the last bit but for rounding; with a limit of KL that ends updates early."""
    made: List[Tuple[PPO, Any]] = []
    for recorded in (False, True):
        made.append(learner(device, recorded, target_kl))
        made[-1][0].learn(16 * N * 3)
    (plain, plain_env), (model, env) = made
    held = (env.venv.env._advanced, env.venv.statistics._taken_in, env._recorded, model._acted, model._update._stepped)
    assert all(each._parts is not None for each in held)
    for name, value in plain.policy.state_dict().items():
        torch.testing.assert_close(model.policy.state_dict()[name], value, rtol=1e-4, atol=1e-6)
    assert abs(env.obs_rms.mean - plain_env.obs_rms.mean).max() < 1e-5
    assert abs(env.returns - plain_env.returns).max() < 1e-4
    left, right = (each.logger.name_to_value for each in (plain, model))
    assert left.keys() == right.keys() and plain._n_updates == model._n_updates
    assert left["train/approx_kl"] == pytest.approx(right["train/approx_kl"], rel=1e-3)
    if target_kl is not None:
        assert plain._n_updates < 12, "updates ended early"
    assert all(isinstance(group["lr"], float) for group in model.policy.optimizer.param_groups)


@pytest.mark.parametrize("device", DEVICES)
def test_edits_of_the_statistics_count(device: str, unread: None) -> None:
    """As SB3's users make them: in place, assigned, and by switching the training of the statistics."""
    made = [learner(device, recorded, None)[1] for recorded in (False, True)]
    for env in made:
        env.reset_tensor()
    generator = torch.Generator().manual_seed(0)

    def steps() -> None:
        for k in range(7):
            actions = (torch.rand(N, 2, generator=generator) * 2 - 1).to(device)
            left, right = (env.step_tensor(actions) for env in made)
            equal(tuple(left), tuple(right), f"step {k}")

    steps()
    for change in (lambda env: env.obs_rms.mean.__iadd__(1.0), lambda env: setattr(env.obs_rms, "var", [2.0] * 6),
                   lambda env: setattr(env, "training", False), lambda env: setattr(env, "clip_obs", 0.5),
                   lambda env: env.returns.__imul__(0.0), lambda env: setattr(env, "training", True)):
        for env in made:
            change(env)
        steps()
    assert made[1]._recorded._parts is not None


def test_a_step_of_the_statistics_binds_no_tensor_anew() -> None:
    """What a recorded one could not follow."""
    env = IsaacVecEnv("IsaacDoublePendulum-v0", num_envs=N, seed=0)
    normal = VecNormalize(env)
    normal.reset_tensor()
    step: Iterator[Step] = (normal.step_tensor(torch.zeros(N, 2)) for _ in range(3))
    next(step)
    held = [env.statistics._finite, env.statistics._sums, env.statistics.episode_return, normal.obs_rms.mirrored(),
            normal.ret_rms.mirrored(), normal._returns]
    before = Contents(held)
    next(step)
    changed = before.changed(Contents(held))
    assert not [name for name in changed if "_array" not in name and "_seen" not in name]


def test_an_environment_of_ones_own_is_called_as_it_is() -> None:
    """It has no recorder, and nothing of the contract asks for one."""
    assert not hasattr(TensorEnv, "recorder")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pair = pendulums("cpu", DoublePendulum)
        run(pair, 5)
    assert pair[1].recorder is None and not is_recorded(pair[1])


@pytest.mark.parametrize("device", DEVICES)
def test_what_is_recorded_in_inference_mode_is_used_outside_of_it(device: str, unread: None) -> None:
    pair = pendulums(device)
    with torch.inference_mode():
        run(pair, 6)
    assert is_recorded(pair[1])
    run(pair, 3)
    env = learner(device, True, None)[1]
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("error")
        env.reset_tensor()
        for _ in range(9):
            env.step_tensor(torch.zeros(N, 2, device=device))
    assert env._recorded._parts is not None and env.venv.statistics._taken_in._parts is not None
    weight = torch.ones(6, device=device, requires_grad=True)
    (pair[1].observe()["policy"] @ weight).sum().backward()
    assert weight.grad is not None
