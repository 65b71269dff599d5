"""``sb3-isaac robot FILE``: what is derived of a robot's file and from what, and whether it stands."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any, List, Mapping, Sequence

from sb3_isaac.cli.outputs import YAML, Output, check_outputs
from sb3_isaac.contract.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The robot, and what is written of it."""
    add = parser.add_argument
    add("robot", metavar="FILE", help="MJCF, URDF or YAML file, menagerie/NAME, robot_descriptions/NAME, or a name")
    add("fields", metavar="FIELD:VALUE", nargs="*",
        help="what the file does not tell, or what you know better, such as torque_limit_nm:23.7")
    add("--picture", metavar="OUT.png", help="draw it standing under its drives")
    add("--yaml", metavar="OUT.yml", help="write all that was derived, to edit and to train with: "
                                          "--env-kwargs robot:OUT.yml")


def run(args: argparse.Namespace) -> int:
    """Print the robot and its checks; 1 where it does not stand."""
    from sb3_isaac.config.grammar import parse_key_values
    from sb3_isaac.robots import ROBOTS, Robot, get_robot
    from sb3_isaac.robots.derive import derive
    from sb3_isaac.robots.registry import robot_source
    from sb3_isaac.robots.robot import check_fields
    from sb3_isaac.sim.robot_check import check_robot

    path, overrides = robot_source(args.robot)
    check_outputs(Output("--picture", args.picture, (".png",)), Output("--yaml", args.yaml, YAML),
                  inputs=[args.robot, path])
    given = parse_key_values(args.fields, "FIELD:VALUE")
    if path in ROBOTS:
        if given:
            raise UserError(f"{path!r} is a registered robot, whose fields are known: leave out {', '.join(given)}, or "
                            "give a file.")
        robot, origin = get_robot(args.robot), {}
    else:
        found = derive(path, check_fields({**overrides, **given}))
        robot, origin = Robot(**found.fields), dict(found.origin)
    checks = check_robot(robot)
    print("\n".join([*_table(robot, origin), "", *_joint_table(robot), ""]))
    for check in checks:
        print(f"{'ok  ' if check.holds else 'MIND'} {check.name}: {check.found}")
    if args.yaml:
        _write_yaml(robot, Path(args.yaml))
    if args.picture:
        _draw(robot, Path(args.picture))
    return 0 if checks[0].holds else 1


def _table(robot: Any, origin: Mapping[str, str]) -> List[str]:
    """A line for each field: name, value, origin."""
    rows = [(field.name, _short(getattr(robot, field.name)), origin.get(field.name, "")) for field in fields(robot)
            if field.name != "joints" and getattr(robot, field.name) is not None]
    return [f"{name:<18} {value}{f'   <- {where}' if where else ''}" for name, value, where in rows]


def _short(value: object) -> str:
    if not isinstance(value, tuple):
        return f"{value:g}" if isinstance(value, float) else str(value)
    if len(value) > 1 and isinstance(value[0], float):
        return f"{value[0]:g} each" if len(set(value)) == 1 else f"{min(value):g} to {max(value):g}"
    return ", ".join(map(str, value)) or "none"


def _plain(value: float) -> str:
    """A number without the sign of a zero."""
    return f"{value + 0.0:g}"


def _joint_table(robot: Any) -> List[str]:
    """A line for each joint: what drives it, and what its file says of it."""
    from sb3_isaac.sim.scene import compose_scene

    model = compose_scene(robot, 0.01)
    head = ("joint", "pose rad", "range rad", "kp", "kd", "limit N·m", "damping", "friction", "armature")
    rows: List[Sequence[str]] = [head]
    for i, name in enumerate(robot.joints):
        joint = model.joint(name)
        low, high = joint.range
        rows.append((name, _plain(robot.default_joint_pos[i]), f"{low:.2f} to {high:.2f}" if joint.limited[0] else "-",
                     f"{robot.kp[i]:g}", f"{robot.kd[i]:g}", f"{robot.torque_limit_nm[i]:g}",
                     f"{float(joint.damping[0]):g}", f"{float(joint.frictionloss[0]):g}",
                     f"{float(joint.armature[0]):g}"))
    widths = [max(len(row[k]) for row in rows) for k in range(len(head))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def _write_yaml(robot: Any, path: Path) -> None:
    from sb3_isaac.contract.files import write_text
    from sb3_isaac.robots.registry import describe

    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, describe(robot, path.parent))
    print(path)


def _draw(robot: Any, path: Path) -> None:
    """Two seconds after it was set down."""
    import torch

    from sb3_isaac.sim.mujoco import MujocoSimulator
    from sb3_isaac.view.picture import write_picture

    sim = MujocoSimulator(robot, 1, threads=1)
    try:
        pose, still = torch.tensor([robot.default_joint_pos]), torch.zeros(1, 3)
        height, level = torch.tensor([[0.0, 0.0, robot.base_height_m]]), torch.tensor([[1.0, 0.0, 0.0, 0.0]])
        sim.reset(torch.ones(1, dtype=torch.bool), height, level, still, still, pose, torch.zeros_like(pose))
        for _ in range(100):
            sim.step(pose)
        renderer = sim.make_renderer(width=960, height=720)
        try:
            write_picture(renderer.frame(()), path)
        finally:
            renderer.close()
    finally:
        sim.close()
    print(path)
