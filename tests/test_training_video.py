"""``train --log-video``: what TensorBoard and wandb get at an evaluation, and where nothing can be drawn."""

from __future__ import annotations

import ctypes.util
import io
from typing import Any, Dict, List, Tuple

import numpy as np
import pytest

from sb3_isaac import PPO, Evaluation, IsaacVecEnv
from sb3_isaac.cli.main import main
from sb3_isaac.rl.callbacks.wandb_log import WandbOutput
from sb3_isaac.view.training_video import FPS, HEIGHT, KEY, WIDTH, TrainingVideo, gif

ENV = "IsaacDoublePendulum-v0"


def test_a_gif_plays_at_its_pace():
    from PIL import Image

    frames = [np.full((HEIGHT, WIDTH, 3), 20 * i, np.uint8) for i in range(5)]
    picture: Any = Image.open(io.BytesIO(gif(frames, 10)))
    assert picture.size == (WIDTH, HEIGHT) and picture.n_frames == 5 and picture.info["duration"] == 100
    assert picture.info["loop"] == 0


def test_tensorboard_and_wandb_have_one_for_each_evaluation(tmp_path):
    from PIL import Image
    from stable_baselines3.common.logger import configure
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    pytest.importorskip("wandb")
    tracked: List[Tuple[int, Any]] = []

    class Run:  # of wandb
        step = 0

        def log(self, values: Dict[str, Any], step: int) -> None:
            tracked.extend((step, value) for key, value in values.items() if key == KEY)

        def finish(self, exit_code: int) -> None:
            """Nothing to wait for."""

    model = PPO("MlpPolicy", IsaacVecEnv(ENV, num_envs=4, seed=0), n_steps=8, batch_size=32, n_epochs=1, seed=0)
    logger = configure(str(tmp_path), ["tensorboard"])
    logger.output_formats.append(WandbOutput(Run()))
    model.set_logger(logger)
    video = TrainingVideo(ENV, {}, seconds=0.4)
    evaluation = Evaluation(lambda: IsaacVecEnv(ENV, num_envs=2, episode_length_s=0.2), every=2)
    model.learn(32 * 3, callback=[evaluation, video])
    logger.close()
    found = EventAccumulator(str(tmp_path))
    found.Reload()
    images = found.Images(KEY)
    assert [image.step for image in images] == [64, 96] == [step for step, _ in tracked]
    for image in images:
        picture: Any = Image.open(io.BytesIO(image.encoded_image_string))
        assert picture.format == "GIF" and picture.n_frames == round(0.4 * FPS)
    assert all(value._format == "gif" for _, value in tracked) and video.spent_s > 0


def test_without_opengl_a_sentence_says_so_and_training_goes_on(tmp_path, monkeypatch, capsys):
    for name in ("MUJOCO_GL", "PYOPENGL_PLATFORM", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    assert main(["train", "--env", "IsaacQuadrupedFlat-v0", "--num-envs", "4", "-n", "32", "-f", str(tmp_path),
                 "--log-video", "--eval-episodes", "1", "-params", "n_steps:8", "n_epochs:1", "n_minibatches:1",
                 "--env-kwargs", "threads:1", "episode_length_s:0.2"]) == 0
    out = capsys.readouterr().out
    assert out.count("evaluations have no video: no OpenGL library could draw offscreen") == 1 and "done:" in out
