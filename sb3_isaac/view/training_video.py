"""A few seconds of the policy at each evaluation, as a moving picture beside the curves."""

from __future__ import annotations

import io
import time
from typing import Any, List, Mapping

import numpy as np
from stable_baselines3.common.logger import TensorBoardOutputFormat

from sb3_isaac.clients import env_options
from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.output import say
from sb3_isaac.envs.vec_env import IsaacVecEnv
from sb3_isaac.rl.callbacks.iteration import IterationCallback
from sb3_isaac.rl.callbacks.wandb_log import WandbOutput
from sb3_isaac.rl.policy.evaluate import eval_options
from sb3_isaac.rl.policy.export import acts_on_groups, evaluation_policy
from sb3_isaac.view.playing import Playing

KEY = "eval/video"
WIDTH, HEIGHT, FPS = 320, 180, 10


class TrainingVideo(IterationCallback):
    """Draws the policy that was just evaluated, in an environment of one robot, into TensorBoard's *Images* and wandb.

    To be placed after the :class:`~sb3_isaac.rl.callbacks.evaluation.Evaluation`. Where nothing can be drawn, a
    sentence says so at the beginning, and training goes on without.

    :param env_id, env_kwargs: the task and the options that it is trained with.
    :param seconds: of simulated time.
    :param seed: of the start.
    """

    def __init__(self, env_id: str, env_kwargs: Mapping[str, Any], seconds: float = 4.0, seed: int = 0) -> None:
        super().__init__()
        self._env_id, self._env_kwargs, self._seconds, self._seed = env_id, env_kwargs, seconds, seed
        self._env: Any = None
        self._steps = -1
        self.spent_s = 0.0

    def _on_training_start(self) -> None:
        drawn = {"render_mode": "rgb_array"} if "render_mode" in env_options(self._env_id) else {}
        options = eval_options(self._env_id, self._env_kwargs)
        self._env = IsaacVecEnv(self._env_id, num_envs=1, **{**options, **drawn})
        try:
            self._playing().draw(WIDTH, HEIGHT, 1)
        except UserError as error:
            say(f"evaluations have no video: {error}")
            self._close()

    def _on_iteration_start(self) -> None:
        steps = self.model.num_timesteps
        if self._env is None or steps == self._steps or self.logger.name_to_value.get("eval/steps") != steps:
            return
        start, self._steps = time.perf_counter(), steps
        frames = self._playing().frames(self._seconds, WIDTH, HEIGHT, 1, FPS)
        picture = gif(list(frames), frames.fps)
        for output in self.logger.output_formats:
            if isinstance(output, TensorBoardOutputFormat):
                _to_tensorboard(output, picture, steps)
            elif isinstance(output, WandbOutput):
                output.log_gif(KEY, picture, steps)
        self.spent_s += time.perf_counter() - start

    def _playing(self) -> Playing:
        policy = evaluation_policy(self.model, self.model.get_vec_normalize_env(), self._env.env.metadata(),
                                   self._env.device)
        return Playing(self._env.env, acts_on_groups(policy), self._seed)

    def _on_training_end(self) -> None:
        self._on_iteration_start()
        self._close()

    def _close(self) -> None:
        if self._env is not None:
            self._env.close()
            self._env = None


def gif(frames: List[np.ndarray], fps: int) -> bytes:
    """`frames`, each (h, w, 3) uint8, as a GIF that begins again at its end; it has the 128 colours that suit some of
    them best."""
    from PIL import Image

    some = Image.fromarray(np.concatenate(frames[::max(1, len(frames) // 4)])).quantize(colors=128)
    pictures = [Image.fromarray(frame).quantize(palette=some, dither=Image.Dither.NONE) for frame in frames]
    file = io.BytesIO()
    pictures[0].save(file, format="GIF", save_all=True, append_images=pictures[1:], duration=1000 // fps, loop=0)
    return file.getvalue()


def _to_tensorboard(output: TensorBoardOutputFormat, picture: bytes, steps: int) -> None:
    """SB3's and torch's own way to videos needs moviepy below 2; TensorBoard shows a GIF where an image may stand."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    image = Summary.Image(height=HEIGHT, width=WIDTH, colorspace=3, encoded_image_string=picture)
    writer: Any = output.writer.file_writer
    writer.add_summary(Summary(value=[Summary.Value(tag=KEY, image=image)]), steps)
