"""sim='mujoco_warp' through tasks, training and commands; nothing on the way waits for the device.

    python -m pytest tests/long_warp_training.py

On the GPU where there is one, else on Warp's CPU device; kernels are compiled at the first run (see long_warp.py). A
guard refuses every call by which torch or Warp would wait for a GPU, with no file exempt.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any, Dict, Iterator

import pytest
import torch
from host_sync import Guard, HostSyncError
from stable_baselines3.common.callbacks import BaseCallback, CallbackList

pytest.importorskip("warp", reason="MuJoCo Warp is not installed: pip install 'sb3_isaac[warp]'")
pytest.importorskip("mujoco_warp", reason="MuJoCo Warp is not installed: pip install 'sb3_isaac[warp]'")
import warp

from sb3_isaac import PPO, IsaacVecEnv, TrainingLog, VecNormalize
from sb3_isaac.cli.main import main
from sb3_isaac.rl.algo.rollout_buffer import TensorRolloutBuffer
from sb3_isaac.tasks import make_task
from sb3_isaac.testing import check_tensor_env

RANDOMIZE: Dict[str, Any] = {
    "friction": {"range": [0.4, 1.2], "when": "reset"}, "payload_kg": {"range": [-1.0, 1.0], "when": "reset"},
    "kp": [0.9, 1.1], "latency_s": [0.0, 0.03], "obs_noise": {"joint_pos": 0.01},
    "push": {"range": [0.0, 0.3], "interval_s": 0.1}}
STEPS, ROBOTS = 40, 16
DEVICE = "cuda:0" if torch.cuda.is_available() else "cpu"


class DeviceBuffer(TensorRolloutBuffer):
    """As on a device that has to be waited for."""

    final_observations_on_cpu = False


@contextlib.contextmanager
def no_waits_of_warp(launched: Dict[str, int]) -> Iterator[None]:
    """Refuse Warp's own waits; count the graphs that are launched."""
    def refused(*args: Any, **kwargs: Any) -> Any:
        raise HostSyncError("Warp waits for the device")

    def counted(graph: Any, stream: Any = None) -> None:
        launched["graphs"] = launched.get("graphs", 0) + 1
        launch(graph, stream)

    launch = warp.capture_launch
    with pytest.MonkeyPatch.context() as patch:
        for name in ("synchronize", "synchronize_device", "synchronize_stream", "synchronize_event"):
            patch.setattr(warp, name, refused)
        for name in ("numpy", "list"):
            patch.setattr(warp.array, name, refused)
        patch.setattr(warp, "capture_launch", counted)
        yield


class Watched(BaseCallback):
    """Guards the steps of a rollout from its third on, when graphs are captured, to its last, where it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = contextlib.ExitStack()
        self.launched: Dict[str, int] = {}
        self.ended, self.guarded = torch.zeros(()), 0

    def _on_step(self) -> bool:
        n_steps = self.locals["n_steps"]
        if n_steps == 2:
            self.stack.enter_context(no_waits_of_warp(self.launched))
            self.guard = self.stack.enter_context(Guard())
        step = self.training_env.unwrapped.last_step  # type: ignore[attr-defined]
        self.ended = self.ended + (step.terminated | step.truncated).sum()
        self.guarded += n_steps > 2
        if n_steps == self.locals["n_rollout_steps"] - 1:
            self.stack.close()
        return True


@pytest.mark.parametrize(("task", "options"), [
    ("IsaacQuadrupedFlat-v0", {}), ("IsaacQuadrupedVelocity-v0", {"privileged": True}),
    ("IsaacQuadrupedFlat-v0", {"randomize": RANDOMIZE}),
    ("IsaacQuadrupedRough-v0", {"privileged": True, "terrain": {"levels": 2, "tiles": {"stairs_up": 1, "wave": 1}}}),
])
def test_an_iteration_waits_for_nothing(task: str, options: Dict[str, Any], unread: None, capsys: Any) -> None:
    env = IsaacVecEnv(task, num_envs=ROBOTS, seed=0, sim="mujoco_warp", device=DEVICE, episode_length_s=0.3, **options)
    watched = Watched()
    policy = "MultiInputPolicy" if "privileged" in options else "MlpPolicy"
    model = PPO(policy, VecNormalize(env), n_steps=STEPS, batch_size=STEPS * ROBOTS // 4, n_epochs=2,
                rollout_buffer_class=DeviceBuffer)
    with watched.stack:
        model.learn(STEPS * ROBOTS, callback=CallbackList([TrainingLog(), watched]))
    assert watched.guarded == STEPS - 3 and float(watched.ended) >= ROBOTS
    graphs, kernels = (count / watched.guarded for count in (watched.launched["graphs"], watched.guard.kernels))
    assert 2 <= graphs <= 4, "steps in one, the reset's forward, and constants where masses are drawn"
    with capsys.disabled():
        print(f"\n{task} {sorted(options)}: 0 waits; {graphs:.1f} graphs and {kernels:.0f} torch kernels a step")
    env.close()


@pytest.mark.skipif(DEVICE == "cpu", reason="graphs of torch's work need a GPU; tests/test_recorded.py has tapes")
@pytest.mark.parametrize(("task", "options"), [
    ("IsaacQuadrupedFlat-v0", {"privileged": True}), ("IsaacQuadrupedVelocity-v0", {"clock": True}),
    ("IsaacQuadrupedFlat-v0", {"randomize": RANDOMIZE}),
])
def test_a_recorded_task_is_that_task(task: str, options: Dict[str, Any]) -> None:
    """To rounding, for sums of forces are in no fixed order on a GPU: a robot in twenty may slip or fall otherwise, and
    then be told something else; for all others draws, commands and ends of episodes are the same."""
    robots = 256
    pair = [make_task(task, robots, sim="mujoco_warp", device=DEVICE, seed=0, episode_length_s=0.5, cuda_graphs=graphs,
                      **options) for graphs in (False, True)]
    generator = torch.Generator().manual_seed(1)
    for env in pair:
        env.reset(seed=4)
    for k in range(60):
        if k == 30:  # a field that becomes each robot's own, and one that is new
            for env in pair:
                env.sim.set_param("gravity", torch.tensor([0.0, 0.0, -9.0]).repeat(robots, 1).to(DEVICE))
                env.sim.engine.field("qacc_warmstart")
        actions = 0.3 * (2 * torch.rand(robots, 12, generator=generator) - 1).to(DEVICE)
        left, right = (env.step(actions) for env in pair)
        apart = (left.obs["policy"] - right.obs["policy"]).abs().amax(dim=1)
        alike = ((apart < 1e-2) & (left.truncated == right.truncated)
                 & (pair[0].command == pair[1].command).all(dim=1))
        assert float(apart.median()) < 1e-4 and float(alike.float().mean()) > 0.95, (k, apart)
        assert float((left.reward - right.reward).abs().median()) < 1e-5, k
    assert pair[1]._advanced._parts is not None and pair[0]._advanced._parts is None
    for env in pair:
        env.close()


@pytest.mark.parametrize("task", ["IsaacQuadrupedFlat-v0", "IsaacQuadrupedVelocity-v0", "IsaacQuadrupedRough-v0"])
def test_tasks_on_warp_keep_the_contract(task: str) -> None:
    env = make_task(task, 4, sim="mujoco_warp", device=DEVICE, seed=0)
    check_tensor_env(env, repeatable=DEVICE == "cpu")
    env.close()


def test_commands_take_it(tmp_path: Path, capsys: Any) -> None:
    """train, its resumption, eval there and on the CPU engine."""
    sim = ["sim:mujoco_warp", f"device:'{DEVICE}'"]
    arguments = ["--num-envs", "16", "--save-freq", "384", "--eval-freq", "0", "-f", str(tmp_path), "--seed", "0"]
    assert main(["train", "-n", "384", *arguments, "--env-kwargs", *sim]) == 0
    run = next((tmp_path / "ppo").iterdir())
    assert "sim: mujoco_warp" in (run / "config.yml").read_text()
    assert main(["train", "-i", str(run), "-n", "768"]) == 0
    capsys.readouterr()
    short = ["--episodes", "2", "--json"]
    assert main(["eval", str(run), *short, "--env-kwargs", "episode_length_s:0.2"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["episodes"] == 2
    assert main(["eval", str(run), *short, "--env-kwargs", "episode_length_s:0.2", "sim:mujoco",
                 "device:cpu"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["episodes"] == 2
    assert main(["eval", str(run), *short, "--env-kwargs", "sim:mujoco", "device:cuda"]) == 2
    assert "device 'cuda' is not where sim='mujoco' runs" in capsys.readouterr().err
