"""``sb3-isaac push RUN --repo USER/NAME``: a trained policy on the Hugging Face Hub."""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from pathlib import Path
from typing import Any, Dict

from sb3_isaac.cli.main import add_gym_packages, import_gym_packages, positive
from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.output import say

SIZE, ROBOTS = (640, 360), 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """RUN, and where it goes."""
    add = parser.add_argument
    add("run", metavar="RUN", help="run folder, checkpoint folder or policy.pth")
    add("--repo", metavar="USER/NAME", help="the repository, which is made if it is not there")
    add("--folder", metavar="DIR", help="write what goes there into this folder, too; without --repo, that alone")
    add("--episodes", type=positive, default=256, help="of the evaluation on the card (default: %(default)s)")
    add("--seconds", type=positive, default=10, help="of the video (default: %(default)s)")
    add("--no-video", action="store_true", help="make none")
    add("--private", action="store_true", help="a new repository can be seen by you alone")
    add("--message", metavar="TEXT", help="of the commit")
    add_gym_packages(parser)


def run(args: argparse.Namespace) -> int:
    """Write the folder; put it on the Hub."""
    if args.repo is None and args.folder is None:
        raise UserError("push was told no place: give --repo USER/NAME, --folder DIR or both.")
    import_gym_packages(args)
    from sb3_isaac.rl.training.hub import REPLAY, check_folder, package_for_hub, push_to_hub

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(args.folder or temporary)
        check_folder(folder)
        if not args.no_video:
            _record(args, folder / REPLAY)
        if args.repo is None:
            say(str(package_for_hub(args.run, folder, episodes=args.episodes)))
        else:
            say(push_to_hub(args.repo, args.run, args.message, None, args.private, folder, args.episodes))
    return 0


def _record(args: argparse.Namespace, path: Path) -> None:
    """The video, where one can be made here."""
    from sb3_isaac.clients import env_options
    from sb3_isaac.policy.formats import load_policy
    from sb3_isaac.rl.policy.evaluate import env_of, make_eval_env
    from sb3_isaac.rl.policy.export import acts_on_groups
    from sb3_isaac.view.playing import Playing
    from sb3_isaac.view.video import write_video

    policy = load_policy(args.run)
    drawn: Dict[str, Any] = {"render_mode": "rgb_array"} if "render_mode" in env_options(env_of(policy)) else {}
    with contextlib.closing(make_eval_env(policy, ROBOTS, seed=0, **drawn)) as env:
        frames = Playing(env, acts_on_groups(policy)).frames(args.seconds, *SIZE, ROBOTS)
        try:
            write_video(frames, str(path), fps=frames.fps)
        except UserError as error:  # no OpenGL, or nothing that writes videos
            say(f"there is no video: {error}")
