"""``sb3-isaac play RUN``: a trained policy in a window, in a video or in a picture."""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Mapping, Optional, Tuple

from sb3_isaac.cli.hub import RUN, here
from sb3_isaac.cli.live import add_view, live_page
from sb3_isaac.cli.main import (
    add_command,
    add_gym_packages,
    check_env_id,
    command_of,
    import_gym_packages,
    positive,
    seed,
)
from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.wording import steps

if TYPE_CHECKING:
    from sb3_isaac.view.playing import Playing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """RUN and how to show it."""
    parser.add_argument("run", metavar="RUN", help=RUN)
    add_playing(parser)


def add_playing(parser: argparse.ArgumentParser, seconds: float = 10.0) -> None:
    """How to show a policy.

    :param seconds: of a video, unless others are asked for.
    """
    add = parser.add_argument
    add("--video", metavar="OUT.mp4", help="write a video (.mp4 or .gif) in place of opening a window")
    add("--picture", metavar="OUT.png", help="write the last frame")
    add("--robots", type=positive, default=5, help="side by side; a window shows one after the other (default: "
        "%(default)s)")
    add("--seconds", type=_seconds, default=seconds,
        help="length of a video; a window stays until it is closed, a page until Ctrl-C (default: %(default)s)")
    add_view(parser)
    add_command(parser, "one after the other, each for an equal part of --seconds")
    add("--env", help="another environment than the one it was trained on")
    add("--env-kwargs", nargs="+", default=[], metavar="KEY:VALUE",
        help="options in place of those it was trained with")
    add("--seed", type=seed, default=0, help="of the starts (default: %(default)s)")
    add("--size", type=_size, metavar="WxH",
        help="pixels of a video or picture (default: 1280x720, or 960x540 where no graphics card draws)")
    add_gym_packages(parser)


def run(args: argparse.Namespace, hold_s: Optional[float] = None) -> int:
    """Play.

    :param hold_s: seconds after which a robot goes on to the next of the task's own commands; None: it keeps its own.
    """
    import_gym_packages(args)
    from sb3_isaac.clients import env_options
    from sb3_isaac.rl.policy.evaluate import env_of, given_options, make_eval_env
    from sb3_isaac.rl.policy.export import acts_on_groups
    from sb3_isaac.rl.training.load import load_actor
    from sb3_isaac.view.playing import Playing

    offscreen = bool(args.video or args.picture)
    if offscreen and (args.view or args.view_at):
        raise UserError("--view shows robots in the browser, and --video and --picture write files: give one of them.")
    if args.picture and Path(args.picture).suffix.lower() != ".png":
        raise UserError(f"--picture is {args.picture!r}: give a name that ends in .png.")
    policy = load_actor(here(args.run), args.env)
    env_id = env_of(policy, args.env)
    check_env_id(env_id)
    options: Dict[str, Any] = given_options(env_id, args.env_kwargs)
    if policy.info.get("env_kwargs", {}).get("sim") == "isaacgym":
        options["sim"] = "mujoco"  # Isaac Gym draws no pictures here
    if offscreen and "render_mode" in env_options(env_id):
        options["render_mode"] = "rgb_array"
    if args.command:
        hold_s = args.seconds / len(args.command) if len(args.command) > 1 else None
    env = make_eval_env(policy, args.robots, command=command_of(args), seed=args.seed, env=args.env,
                        hold_s=hold_s, **options)
    try:
        playing = Playing(env, acts_on_groups(policy), seed=args.seed)
        if offscreen:
            _record(playing, args)
        else:
            _show(playing, args, policy.info)
    finally:
        env.close()
    return 0


def _show(playing: Playing, args: argparse.Namespace, info: Mapping[str, Any]) -> None:
    """On the page, or in a window."""
    ranges = info.get("command", {})
    page = live_page(args)
    if page is None:
        playing.watch(_pace(), ranges)
        return
    from sb3_isaac.view.live.playing import show

    what = f"{args.run}, trained for {steps(info.get('steps', 0))} steps"
    with contextlib.closing(page):
        show(playing, page, str(args.env or info["env"]), what, ranges, _pace())


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


def _record(playing: Playing, args: argparse.Namespace) -> None:
    """Write the video, the picture or both."""
    from tqdm import tqdm

    from sb3_isaac.engine.gl import frame_size
    from sb3_isaac.view.picture import write_picture
    from sb3_isaac.view.video import write_video

    width, height = args.size or frame_size()
    frames = playing.frames(args.seconds, width, height, args.robots)
    frames.last_only = not args.video
    shown = tqdm(frames, desc="drawing", unit="frame", leave=False, disable=not sys.stderr.isatty())
    if args.video:
        write_video(shown, args.video, fps=frames.fps)
        print(args.video)
    else:
        for _ in shown:
            continue
    if args.picture:
        write_picture(frames.last, Path(args.picture))
        print(args.picture)


def _pace() -> Any:
    """Wait until the clock has reached the simulated time; a window that falls behind does not race after it."""
    start = time.perf_counter()

    def wait_until(simulated_s: float) -> None:
        nonlocal start
        late_s = time.perf_counter() - start - simulated_s
        if late_s > 0.1:
            start += late_s
        time.sleep(max(0.0, -late_s))

    return wait_until
