"""Nothing on the step path waits for the device: what would, is refused while robots step and episodes end."""

from __future__ import annotations

import sys
from typing import Any, Callable, Iterator, List

import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from sb3_isaac import PPO, IsaacVecEnv, TrainingLog, VecNormalize
from sb3_isaac.rl.algo.final_observations_cpu import FinalObservationsOnCpu
from sb3_isaac.rl.algo.rollout_buffer import TensorRolloutBuffer

REFUSED_METHODS = ("item", "cpu", "numpy", "tolist", "nonzero", "__bool__")
EXEMPT = ("engine/cpu.py", "algo/final_observations_cpu.py")


class DeviceBuffer(TensorRolloutBuffer):
    """As on a device that has to be waited for."""

    final_observations_on_cpu = False


class HostSyncError(AssertionError):
    """A call that waits for the device."""


def _exempt() -> bool:
    frame: Any = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename.replace("\\", "/").endswith(EXEMPT):
            return True
        frame = frame.f_back
    return False


class NoSyncByName(TorchFunctionMode):
    """Refuses the Python calls that bring values to the host."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if (name in REFUSED_METHODS or (name == "where" and len(args) == 1 and not kwargs)) and not _exempt():
            raise HostSyncError(name)
        return func(*args, **(kwargs or {}))


class NoSyncByKernel(TorchDispatchMode):
    """Refuses the kernels that do so, whatever they were called by."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        masked = name in ("index", "index_put", "index_put_") and any(
            i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1])
        if (name in ("_local_scalar_dense", "nonzero") or masked) and not _exempt():
            raise HostSyncError(f"{name} by a mask" if masked else name)
        return func(*args, **(kwargs or {}))


class Guard:
    """Both modes at once."""

    def __enter__(self) -> None:
        self._modes: List[Any] = [NoSyncByName(), NoSyncByKernel()]
        for mode in self._modes:
            mode.__enter__()

    def __exit__(self, *error: Any) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(*error)


def index_put(x: torch.Tensor) -> None:
    x[x > 0] = 0.0


@pytest.mark.parametrize("call", [
    lambda x: x[0].item(), lambda x: x.cpu(), lambda x: x.numpy(), lambda x: x.tolist(), lambda x: x.nonzero(),
    lambda x: bool(x[0] > 0), lambda x: torch.where(x > 0), lambda x: float(x[0]), lambda x: int(x[0]),
    lambda x: x[x > 0], index_put, lambda x: 1.0 if x[0] > 0 else 0.0, lambda x: torch.nonzero(x),
    lambda x: f"{x[0]:.2f}",
], ids=["item", "cpu", "numpy", "tolist", "nonzero", "bool", "where", "float", "int", "index", "index_put", "if",
        "torch.nonzero", "format"])
def test_the_guard_refuses(call: Callable[[torch.Tensor], Any]) -> None:
    with pytest.raises(HostSyncError), Guard():
        call(torch.arange(-2.0, 3.0))


def test_the_guard_allows_masks_that_stay_on_the_device() -> None:
    x = torch.arange(-2.0, 3.0)
    with Guard():
        out = torch.where(x > 0, x, 0.0)
        out.masked_fill_(x > 1, 5.0)
        out = out[torch.tensor([0, 3])]
    assert out.tolist() == [0.0, 1.0]


class Watched(BaseCallback):
    """Guards every step of a rollout but its last, where the rollout is read."""

    def __init__(self) -> None:
        super().__init__()
        self.steps, self.ended = 0, torch.zeros(())

    def _on_rollout_start(self) -> None:
        self._guard = Guard()
        self._guard.__enter__()

    def _on_step(self) -> bool:
        self.steps += 1
        step = self.training_env.unwrapped.last_step  # type: ignore[attr-defined]
        with pytest.raises(HostSyncError):
            bool(step.terminated[0])
        self.ended = self.ended + (step.terminated | step.truncated).sum()
        if self.locals["n_steps"] == self.locals["n_rollout_steps"] - 1:
            self._guard.__exit__(None, None, None)
        return True


@pytest.fixture(params=["IsaacDoublePendulum-v0", "IsaacQuadrupedFlat-v0", "IsaacQuadrupedVelocity-v0",
                        "IsaacQuadrupedRough-v0"])
def env(request: pytest.FixtureRequest) -> Iterator[IsaacVecEnv]:
    made = IsaacVecEnv(request.param, num_envs=16, seed=0, episode_length_s=0.4)
    yield made
    made.close()


@pytest.mark.parametrize("normalized", [False, True])
def test_a_hundred_steps_of_training_without_a_sync(env: IsaacVecEnv, normalized: bool) -> None:
    watched = Watched()
    model = PPO("MlpPolicy", VecNormalize(env) if normalized else env, n_steps=101, batch_size=404, n_epochs=1,
                rollout_buffer_class=DeviceBuffer)
    model.learn(101 * 16, callback=CallbackList([TrainingLog(), watched]))
    assert not isinstance(model.rollout_buffer._final_observations, FinalObservationsOnCpu)
    assert watched.steps == 101 and float(watched.ended) >= 16
    assert "rollout/ep_rew_mean" in model.get_env().unwrapped.statistics.read()  # type: ignore[union-attr]
