"""``sb3-isaac play RUN``: a trained policy in MuJoCo's viewer, in a video or in a picture."""

from __future__ import annotations

import argparse
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator, List, Tuple

from sb3_isaac.cli.main import pair, positive
from sb3_isaac.contract.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from sb3_isaac.contract.tensor_env import Step
    from sb3_isaac.sim.mujoco import MujocoSimulator

FPS = 25
SPEED_WINDOW_S = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """RUN and how to show it."""
    add = parser.add_argument
    add("run", metavar="RUN", help="run folder, checkpoint folder or policy.pth")
    add("--video", metavar="OUT.mp4", help="write a video (.mp4 or .gif) in place of opening a window")
    add("--picture", metavar="OUT.png", help="write the last frame")
    add("--robots", type=positive, default=5, help="side by side in a video or picture (default: %(default)s)")
    add("--seconds", type=_seconds, default=10.0,
        help="length of a video; a window stays until it is closed (default: %(default)s)")
    add("--command", type=pair, metavar="V,W", help="forward m/s and yaw rad/s (default: 1.0,0.0)")
    add("--seed", type=int, default=0, help="of the starts (default: %(default)s)")
    add("--size", type=_size, default=(1280, 720), metavar="WxH",
        help="pixels of a video or picture (default: 1280x720)")


def run(args: argparse.Namespace) -> int:
    """Play."""
    from sb3_isaac.rl.policy.formats import load_policy
    from sb3_isaac.rl.training.evaluate import make_eval_env

    policy = load_policy(args.run)
    offscreen = bool(args.video or args.picture)
    elsewhere = {"sim": "mujoco"} if policy.info["env_kwargs"].get("sim") == "isaacgym" else {}  # which has no pictures
    if args.picture and Path(args.picture).suffix.lower() != ".png":
        raise UserError(f"--picture is {args.picture!r}: give a name that ends in .png.")
    env = make_eval_env(policy, args.robots if offscreen else 1, command=args.command, seed=args.seed, **elsewhere)
    try:
        play = Play(env, policy)
        if offscreen:
            _record(play, args)
        else:
            _watch(play)
    finally:
        env.close()
    return 0


def _size(text: str) -> Tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None or not all(16 <= int(side) <= 8192 for side in match.groups()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 1280x720, with sides from 16 to 8192")
    return int(match[1]), int(match[2])


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


class Play:
    """A policy at work in a simulated task, and what is to be said of its first robot.

    :param env: a TensorEnv on a MuJoCo simulator ``env.sim``.
    :param policy: observation (N, k) -> action (N, J).
    """

    def __init__(self, env: Any, policy: Any) -> None:
        from sb3_isaac.sim.mujoco import MujocoSimulator

        if not isinstance(getattr(env, "sim", None), MujocoSimulator):
            raise UserError(f"{type(env).__name__} has no MuJoCo scene to show: play a policy of a robot task.")
        self.sim: MujocoSimulator = env.sim
        self.control_dt: float = self.sim.control_dt
        self._env, self._policy = env, policy
        self._obs = env.reset()
        self._time_s = self._speed_m_s = self._reward = 0.0
        self._command: Tuple[float, ...] = ()

    def step(self) -> None:
        """One control step."""
        step = self._env.step(self._policy(self._obs["policy"]))
        self._obs = step.obs
        self._measure(step)

    def _measure(self, step: Step) -> None:
        if "forward_speed" in step.log:
            share = min(1.0, self.control_dt / SPEED_WINDOW_S)
            self._speed_m_s += share * (float(step.log["forward_speed"][0]) - self._speed_m_s)
            self._command = tuple(step.log["command"][0].tolist())
        self._time_s += self.control_dt
        self._reward += float(step.reward[0])
        if bool(step.terminated[0] | step.truncated[0]):
            self._time_s = self._speed_m_s = self._reward = 0.0

    def lines(self) -> List[str]:
        """Command, low-passed speed, and the reward and time of the first robot's episode."""
        walking = []
        if self._command:
            walking = ["command  {:.2f} m/s, {:.2f} rad/s".format(*self._command), f"speed  {self._speed_m_s:.2f} m/s"]
        return [*walking, f"reward  {self._reward:.1f}", f"time  {self._time_s:.1f} s"]


def _record(play: Play, args: argparse.Namespace) -> None:
    """Write the video, the picture or both."""
    from sb3_isaac.view.video import write_video

    width, height = args.size
    renderer = play.sim.make_renderer(width, height, num_robots=args.robots)
    every = max(1, round(1.0 / (FPS * play.control_dt)))
    count = max(1, round(args.seconds / (every * play.control_dt)))
    last: List[np.ndarray] = []
    try:
        frames = _frames(play, renderer, every, count, keep=last, all_drawn=bool(args.video))
        if args.video:
            write_video(frames, args.video, fps=max(1, round(1.0 / (every * play.control_dt))))
            print(args.video)
        else:
            list(frames)
        if args.picture:
            _write_picture(last[0], Path(args.picture))
            print(args.picture)
    finally:
        renderer.close()


def _frames(play: Play, renderer: Any, every: int, count: int, keep: List[np.ndarray],
            all_drawn: bool) -> Iterator[np.ndarray]:
    """`count` frames, `every` so many control steps, or the last alone; `keep` gets the last."""
    from tqdm import tqdm

    for i in tqdm(range(count), unit="frame", leave=False, disable=not sys.stderr.isatty()):
        for _ in range(every):
            play.step()
        if all_drawn or i == count - 1:
            keep[:] = [renderer.frame(play.lines())]
            yield keep[0]


def _write_picture(pixels: np.ndarray, path: Path) -> None:
    from matplotlib.image import imsave

    from sb3_isaac.contract.files import whole_file

    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as unfinished:
        imsave(unfinished, pixels, format="png")


def _watch(play: Play) -> None:
    """Show the first robot in MuJoCo's viewer, in real time, until its window is closed."""
    import mujoco
    import mujoco.viewer

    _require_display()
    model = play.sim.visual_model
    data = mujoco.MjData(model)
    try:
        viewer = mujoco.viewer.launch_passive(model, data, show_left_ui=False, show_right_ui=False)
    except RuntimeError as error:
        raise UserError(f"MuJoCo's viewer does not open ({error}): pass --video out.mp4 to write a video.") from error
    with viewer:
        viewer.cam.type, viewer.cam.trackbodyid = mujoco.mjtCamera.mjCAMERA_TRACKING, 1
        viewer.cam.distance, viewer.cam.azimuth, viewer.cam.elevation = 3.0 * model.stat.extent, 150.0, -14.0
        due = time.perf_counter()
        while viewer.is_running():
            play.step()
            with viewer.lock():
                data.qpos[:] = play.sim.engine.mj_data(0).qpos
                mujoco.mj_forward(model, data)
            viewer.set_texts((None, None, "\n".join(play.lines()), None))
            viewer.sync()
            due = max(due + play.control_dt, time.perf_counter() - play.control_dt)
            time.sleep(max(0.0, due - time.perf_counter()))


def _require_display() -> None:
    """Complain where no window can open; MuJoCo's viewer waits for one for ever."""
    import glfw

    from sb3_isaac.engine.renderer import has_display

    if not has_display() or not glfw.init():
        raise UserError("there is no display to open a window on: pass --video out.mp4 or --picture out.png.")
