"""``sb3-isaac sysid LOG.csv --robot R``: what a robot's joints are like, from how they followed targets."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, Dict, List

from sb3_isaac.cli.outputs import YAML, Output, check_outputs
from sb3_isaac.contract.errors import UserError, is_number


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The log and the robot, or what to record."""
    add = parser.add_argument
    add("log", metavar="LOG.csv", help="time_s, and target_, pos_, vel_ of each joint (rad, rad/s)")
    add("--robot", default="quadruped", metavar="R", help="as for --env-kwargs robot:R (default: %(default)s)")
    add("--standing", metavar="STAND.csv", help="another log, of the robot on its feet, rising and sinking slowly: "
        "finds payload_kg besides")
    add("--yaml", metavar="OUT.yml", help="write the robot as it was found, to train with: --env-kwargs robot:OUT.yml")
    add("--record", action="store_true", help="write such logs from simulation instead")
    add("--with", nargs="+", default=[], metavar="NAME:VALUE", dest="true", help="with --record: the simulated robot's "
        "parameters, such as armature:1.4 latency_s:0.0125")
    add("--seconds", type=float, default=20.0, help="with --record (default: %(default)s)")
    add("--json", action="store_true", help="print one JSON object and nothing else")


def run(args: argparse.Namespace) -> int:
    """Record or read, identify, print and write."""
    from sb3_isaac.robots import get_robot
    from sb3_isaac.sim.motion_log import read_log
    from sb3_isaac.sim.payload import find_payload
    from sb3_isaac.sim.sysid import PARAMETERS, identified_robot, identify

    robot, path = get_robot(args.robot), Path(args.log)
    check_outputs(Output("--yaml", args.yaml, YAML), inputs=[args.robot])
    if args.record:
        return _record(args, robot, path)
    if args.true:
        raise UserError("--with is of the robot that is recorded: give --record too.")
    log = read_log(path, robot.joints)
    standing = read_log(Path(args.standing), robot.joints) if args.standing else None
    found = identify(robot, log)
    units = {name: unknown_.unit for name, unknown_ in PARAMETERS.items()}
    if standing is not None:
        found["payload_kg"], units["payload_kg"] = find_payload(robot, standing, found), "kg"
    if args.json:
        print(json.dumps({name: {"value": one.value, "error": one.error} for name, one in found.items()}))
    else:
        for name, one in found.items():
            print(f"{name:<16} {one.value:9.5f} ± {one.error:.5f} {units[name]}")
    if args.yaml:
        _write_yaml(identified_robot(robot, found), Path(args.yaml))
        if not args.json:
            drawn = " ".join(f'"randomize.{name}:{found[name].value:.4f}"' for name in ("latency_s", "payload_kg")
                             if name in found)
            print(f"{args.yaml}: --env-kwargs robot:{args.yaml} {drawn}")
    return 0


def _record(args: argparse.Namespace, robot: Any, path: Path) -> int:
    """Write the logs of a simulated robot."""
    from sb3_isaac.sim.motion_log import write_log
    from sb3_isaac.sim.payload import record_standing
    from sb3_isaac.sim.sysid import record

    if not 2.0 <= args.seconds <= 600.0:
        raise UserError(f"--seconds is {args.seconds:g}: give from 2 to 600.")
    true = _true(args.true)
    payload_kg = true.pop("payload_kg", None)
    if payload_kg is not None and not args.standing:
        raise UserError("--with payload_kg is not seen of a robot that hangs: give --standing STAND.csv too.")
    logs = {path: record(robot, true, args.seconds)}
    if args.standing:
        logs[Path(args.standing)] = record_standing(robot, true, payload_kg or 0.0, args.seconds)
    for file, log in logs.items():
        write_log(log, robot.joints, file)
        print(file)
    return 0


def _true(items: List[str]) -> Dict[str, float]:
    from sb3_isaac.config.grammar import parse_key_values

    given: Dict[str, Any] = dict(parse_key_values(items, "--with"))
    for name, value in given.items():
        if not is_number(value):
            raise UserError(f"--with {name} is {value!r}: give a number.")
    return given


def _write_yaml(robot: Any, path: Path) -> None:
    from sb3_isaac.contract.files import write_text
    from sb3_isaac.robots.registry import describe

    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, describe(robot, path.parent))
