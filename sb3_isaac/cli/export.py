"""``sb3-isaac export RUN``: a trained policy for a computer on a robot, without PyTorch."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Optional

from sb3_isaac.cli.hub import RUN, here
from sb3_isaac.cli.main import add_gym_packages, check_env_id, import_gym_packages, import_isaacgym_if_needed
from sb3_isaac.cli.outputs import YAML, Output, check_outputs
from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.output import say

if TYPE_CHECKING:
    from sb3_isaac.policy.module import PolicyModule


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """RUN and what to write."""
    add = parser.add_argument
    add("run", metavar="RUN", help=RUN)
    add("--onnx", metavar="FILE", help="write the policy for ONNX Runtime, normaliser, limits and metadata inside")
    add("--deploy", metavar="FILE", help="write what a control program has to know as YAML: joints, gains, rate, "
        "observations with units, limits")
    add("--env", help="another environment than the one it was trained on")
    add_gym_packages(parser)


def run(args: argparse.Namespace) -> int:
    """Write and say what was checked."""
    if not (args.onnx or args.deploy):
        raise UserError("export was told to write nothing: give --onnx FILE, --deploy FILE or both.")
    check_outputs(Output("--onnx", args.onnx, (".onnx",)), Output("--deploy", args.deploy, YAML))
    import_isaacgym_if_needed(run=args.run, env=args.env)
    import_gym_packages(args)
    import yaml

    from sb3_isaac.contract.files import write_text
    from sb3_isaac.rl.policy.deploy import deploy_facts

    policy = _policy(here(args.run))
    facts: Dict[str, Any] = deploy_facts(policy, _metadata(policy, args.env))
    if args.onnx:
        from sb3_isaac.rl.policy.onnx_file import CHECKED, write_onnx

        error = write_onnx(policy, facts, Path(args.onnx))
        size = Path(args.onnx).stat().st_size / 1000
        say(f"{args.onnx}: {size:.0f} kB, {policy.obs_width} numbers observed, {policy.low.numel()} actions; on "
            f"{CHECKED} observations its actions are those of policy.pth within {error:.1e}")
    if args.deploy:
        write_text(Path(args.deploy), yaml.safe_dump(facts, sort_keys=False, default_flow_style=None, width=120,
                                                     allow_unicode=True))
        say(f"{args.deploy}: {len(facts.get('joint_names', ()))} joints at {facts['control_hz']:g} Hz")
    return 0


def _metadata(policy: "PolicyModule", env: Optional[str]) -> Dict[str, Any]:
    """What the policy's task tells, as it was trained on: newer than what an old policy.pth holds of it."""
    from sb3_isaac.clients import make_tensor_env
    from sb3_isaac.rl.policy.evaluate import env_of

    env_id = env_of(policy, env)
    check_env_id(env_id)
    task = make_tensor_env(env_id, 1, **(policy.info.get("env_kwargs", {}) if env is None else {}))
    metadata = task.metadata()
    task.close()
    if metadata.get("obs_table") != policy.info.get("obs_table"):
        raise UserError(f"the policy sees {policy.info.get('obs_table')} and {env_id} has {metadata.get('obs_table')}: "
                        "export it for the task that it was trained on.")
    return metadata


def _policy(run: str) -> "PolicyModule":
    from sb3_isaac.policy.formats import load_policy
    from sb3_isaac.policy.module import ImagePolicy

    folder = Path(run)
    if folder.is_dir() and (folder / "model.zip").is_file() and not (folder / "policy.pth").is_file():
        raise UserError(f"the policy of {run} is more than a chain of layers on one flat observation (its training "
                        "said why there is no policy.pth), which cannot be exported: take an MLP for what is to run on "
                        "a robot.")
    policy = load_policy(run)
    if isinstance(policy, ImagePolicy):
        raise UserError(f"the policy of {run} sees pictures, and what is exported sees one flat observation: run "
                        "policy.pth by sb3_isaac.load_policy, which needs torch alone.")
    return policy
