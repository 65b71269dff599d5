"""Nothing on the step path waits for the device: what would, is refused while robots step and episodes end."""

from __future__ import annotations

from typing import Any, Callable, Iterator

import pytest
import torch
from host_sync import Guard, HostSyncError
from stable_baselines3.common.callbacks import BaseCallback, CallbackList

from sb3_isaac import PPO, IsaacVecEnv, TrainingLog, VecNormalize
from sb3_isaac.contract.device import copy_where, known_empty
from sb3_isaac.contract.episodes import Episodes
from sb3_isaac.rl.algo.final_observations_cpu import FinalObservationsOnCpu
from sb3_isaac.rl.algo.rollout_buffer import TensorRolloutBuffer
from sb3_isaac.rl.policy.evaluate import eval_options
from sb3_isaac.tasks import make_task

EXEMPT = ("engine/cpu.py", "algo/final_observations_cpu.py", "contract/device.py")


class DeviceBuffer(TensorRolloutBuffer):
    """As on a device that has to be waited for."""

    final_observations_on_cpu = False


def index_put(x: torch.Tensor) -> None:
    x[x > 0] = 0.0


@pytest.mark.parametrize("call", [
    lambda x: x[0].item(), lambda x: x.cpu(), lambda x: x.numpy(), lambda x: x.tolist(), lambda x: x.nonzero(),
    lambda x: bool(x[0] > 0), lambda x: torch.where(x > 0), lambda x: float(x[0]), lambda x: int(x[0]),
    lambda x: x[x > 0], index_put, lambda x: 1.0 if x[0] > 0 else 0.0, lambda x: torch.nonzero(x),
    lambda x: f"{x[0]:.2f}", lambda x: x[[0, 1]], lambda x: torch.tensor([1.0]), lambda x: torch.as_tensor([1.0]),
], ids=["item", "cpu", "numpy", "tolist", "nonzero", "bool", "where", "float", "int", "index", "index_put", "if",
        "torch.nonzero", "format", "list index", "tensor", "as_tensor"])
def test_the_guard_refuses(call: Callable[[torch.Tensor], Any]) -> None:
    with pytest.raises(HostSyncError), Guard():
        call(torch.arange(-2.0, 3.0))


def test_the_guard_allows_masks_that_stay_on_the_device() -> None:
    x = torch.arange(-2.0, 3.0)
    rows = torch.tensor([0, 3])
    with Guard():
        out = torch.where(x > 0, x, 0.0)
        out.masked_fill_(x > 1, 5.0)
        out = out[rows]
    assert out.tolist() == [0.0, 1.0]


class Watched(BaseCallback):
    """Guards every step of a rollout but its first, which starts from an array, and its last, where it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.steps, self.ended = 0, torch.zeros(())
        self._guard = Guard(EXEMPT)

    def _on_step(self) -> bool:
        self.steps += 1
        if self.steps == 1:
            self._guard.__enter__()
        step = self.training_env.unwrapped.last_step  # type: ignore[attr-defined]
        with pytest.raises(HostSyncError):
            bool(step.terminated[0])
        self.ended = self.ended + (step.terminated | step.truncated).sum()
        if self.locals["n_steps"] == self.locals["n_rollout_steps"] - 1:
            self._guard.__exit__(None, None, None)
        return True


def test_an_evaluation_without_a_sync() -> None:
    """Its steps, with commands in turn; whether all have ended is read by whoever runs it."""
    options = eval_options("IsaacQuadrupedVelocity-v0", {"episode_length_s": 0.2})
    env = make_task("IsaacQuadrupedVelocity-v0", 16, seed=0, **options)
    env.reset()
    episodes, action = Episodes(16, env.device, env.control_dt), torch.zeros(16, 12)
    for k in range(12):
        with Guard(EXEMPT if k else ("",)):  # the first lays tables out
            step = env.step(action)
            episodes.add(step.reward, step.terminated, step.truncated, step.log)
    assert not episodes.running.any()
    env.close()


@pytest.fixture(params=["IsaacDoublePendulum-v0", "IsaacQuadrupedFlat-v0", "IsaacQuadrupedVelocity-v0",
                        "IsaacQuadrupedRough-v0", "IsaacAnt-v0"])
def env(request: pytest.FixtureRequest) -> Iterator[IsaacVecEnv]:
    made = IsaacVecEnv(request.param, num_envs=16, seed=0, episode_length_s=0.4)
    yield made
    made.close()


@pytest.mark.parametrize("normalized", [False, True])
def test_training_without_a_sync(env: IsaacVecEnv, normalized: bool) -> None:
    """For the length of two episodes: each robot's ends once at least."""
    watched = Watched()
    model = PPO("MlpPolicy", VecNormalize(env) if normalized else env, n_steps=41, batch_size=164, n_epochs=1,
                rollout_buffer_class=DeviceBuffer)
    model.learn(41 * 16, callback=CallbackList([TrainingLog(), watched]))
    assert not isinstance(model.rollout_buffer._final_observations, FinalObservationsOnCpu)
    assert watched.steps == 41 and float(watched.ended) >= 16
    assert "rollout/ep_rew_mean" in model.get_env().unwrapped.statistics.read()  # type: ignore[union-attr]


def test_a_symmetric_normaliser_without_a_sync() -> None:
    env = IsaacVecEnv("IsaacQuadrupedFlat-v0", num_envs=16, seed=0)
    normal, action = VecNormalize(env), torch.zeros(16, 12)
    normal.mirror_obs(env.env.mirror().observation)
    normal.reset_tensor()
    for k in range(4):
        with Guard(EXEMPT if k else ("",)):  # the first copies the mirror to the device
            normal.step_tensor(action)
    env.close()


def test_an_empty_mask_is_known_where_reading_costs_nothing() -> None:
    mask = torch.tensor([False, True, False])
    assert not known_empty(mask) and known_empty(mask & ~mask)
    assert not known_empty(mask.to("meta")), "which has no numbers to read"


def test_a_masked_copy_is_the_same_whether_the_mask_is_read_or_not() -> None:
    """Into tensors of both layouts, on the CPU by rows; on another device by going through all."""
    mask, values = torch.tensor([True, False, True]), torch.arange(6.0).view(2, 3)
    for own in (torch.zeros(2, 3), torch.zeros(3, 2).t()):
        copy_where(mask, values, own)
        assert own.tolist() == [[0.0, 0.0, 2.0], [3.0, 0.0, 5.0]]
        copy_where(~mask & mask, values + 1.0, own)
        assert own.tolist() == [[0.0, 0.0, 2.0], [3.0, 0.0, 5.0]]
    with torch.device("meta"):
        copy_where(mask.to("meta"), torch.zeros(2, 3), torch.zeros(2, 3))
