"""System identification: a recorded log gives back what it was recorded with, and bad logs are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, List

import numpy as np
import pytest

from sb3_isaac.cli.main import main
from sb3_isaac.contract.errors import UserError
from sb3_isaac.robots import get_robot
from sb3_isaac.sim.motion_log import MotionLog, read_log, write_log

pytest.importorskip("mujoco")
from sb3_isaac.sim.payload import Stance, find_payload, record_standing
from sb3_isaac.sim.sysid import Found, HungRobot, identified_robot, identify, record

ROBOT = get_robot("quadruped")


@pytest.fixture(scope="module")
def log() -> MotionLog:
    return record(ROBOT, {"latency_s": 0.01}, seconds=2.0)


def test_a_log_is_read_as_it_was_written(log: MotionLog, tmp_path: Path) -> None:
    write_log(log, ROBOT.joints, tmp_path / "log.csv")
    read = read_log(tmp_path / "log.csv", ROBOT.joints)
    assert read.period_s == pytest.approx(0.005) and len(read.times) == 400
    for name in ("target", "pos", "vel"):
        np.testing.assert_allclose(getattr(read, name), getattr(log, name), atol=1e-6)


def test_targets_are_late_by_parts_of_a_physics_step() -> None:
    """Told a step of 0.1 rad, no joint moves before it is late; half a physics step late is between none and one."""
    hung = HungRobot(ROBOT, 3, 0.0025)
    one = np.ones(3)
    hung.set({"armature": one, "damping": 0.1 * one, "friction": 0 * one, "motor_strength": one})
    pose = np.tile(ROBOT.default_joint_pos, (3, 1))
    target = np.repeat(pose[None], 6, axis=0)
    target[1:] += 0.1
    _, vel = hung.follow(target, np.array([0.0, 0.00125, 0.0025]), 0.005, pose, 0 * pose)
    moved = np.abs(vel[2] - vel[1]).sum(axis=1)
    assert moved[0] > moved[1] > moved[2] and moved[1] == pytest.approx(0.5 * (moved[0] + moved[2]), rel=0.15)


def test_the_robot_that_was_found_has_these_drives() -> None:
    found = {"armature": Found(1.5, 0), "damping": Found(0.3, 0), "friction": Found(0.2, 0),
             "motor_strength": Found(0.8, 0), "latency_s": Found(0.01, 0)}
    robot = identified_robot(ROBOT, found)
    assert robot.kp == tuple(0.8 * kp for kp in ROBOT.kp) and robot.friction_nm == (0.2,) * 12
    assert robot.kd == pytest.approx([0.8 * kd + 0.3 - 0.1 for kd in ROBOT.kd])
    assert robot.armature_kgm2 is not None and min(robot.armature_kgm2) == pytest.approx(1.5 * 0.0045)


TRUE = {"armature": 1.4, "damping": 0.25, "friction": 0.12, "motor_strength": 0.85, "latency_s": 0.01}


def test_lifting_the_trunk_leaves_the_feet_where_they_are() -> None:
    """Turned by a millimetre's worth, all joints bring the trunk that much higher above every foot, whose round end
    rolls a little; of the weight, the trunk's part is lifted wholly and that of the legs in part."""
    stance, pose = Stance(ROBOT), np.asarray(ROBOT.default_joint_pos)
    turn, weight_n = stance.lift(pose)
    before = np.stack([stance._lowest(geoms)[0] for geoms in stance._feet])
    stance.lift(pose + 0.001 * turn)
    after = np.stack([stance._lowest(geoms)[0] for geoms in stance._feet])
    np.testing.assert_allclose(after - before, np.tile([0.0, 0.0, -0.001], (4, 1)), atol=1e-4)
    assert 6.9 * 9.81 < weight_n < stance.mass_kg * 9.81


def test_a_payload_is_found_from_the_torques_of_a_robot_that_stands() -> None:
    found = {name: Found(value, 0.0) for name, value in TRUE.items()}
    payload = find_payload(ROBOT, record_standing(ROBOT, TRUE, 3.0, seconds=4.0), found)
    assert payload.value == pytest.approx(3.0, rel=0.05) and 0.0 < payload.error < 0.3


def test_a_robot_that_does_not_stand_or_has_other_legs_is_one_sentence(log: MotionLog) -> None:
    found = {name: Found(value, 0.0) for name, value in TRUE.items()}
    with pytest.raises(UserError, match=r"the drives carry -?\d.* kg of a robot of 15.0 kg in the log of --standing"):
        find_payload(ROBOT, log, found)
    with pytest.raises(UserError, match=r"payload_kg is -9, which leaves nothing of a trunk of 6.92 kg"):
        record_standing(ROBOT, TRUE, -9.0)
    with pytest.raises(UserError, match=r"has 12 joints, 3 feet and position drives, and a payload is found of"):
        Stance(replace(ROBOT, feet=ROBOT.feet[:3]))


def test_the_verb_finds_writes_and_prints_what_was_recorded(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Of a log of two seconds a tenth is near enough; the file is a robot that training takes."""
    logs = [str(tmp_path / "log.csv"), "--standing", str(tmp_path / "stand.csv")]
    true = [f"{name}:{value}" for name, value in {**TRUE, "payload_kg": 2.0}.items()]
    assert main(["sysid", *logs, "--record", "--seconds", "2", "--with", *true]) == 0
    assert capsys.readouterr().out.split() == [logs[0], logs[2]]
    out = tmp_path / "robots" / "found.yml"
    assert main(["sysid", *logs, "--yaml", str(out)]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    found = {line.split()[0]: float(line.split()[1]) for line in lines}
    assert found == {name: pytest.approx(value, rel=0.1) for name, value in {**TRUE, "payload_kg": 2.0}.items()}
    assert last.startswith(f'{out}: --env-kwargs robot:{out} "randomize.latency_s:0.0')
    assert f'"randomize.payload_kg:{found["payload_kg"]:.4f}"' in last
    robot = get_robot(str(out))
    assert robot.kp == pytest.approx([0.85 * kp for kp in ROBOT.kp], rel=0.1) and robot.joints == ROBOT.joints


def test_a_log_of_which_nothing_can_be_found_is_one_sentence(log: MotionLog) -> None:
    still = replace(log, pos=np.repeat(log.pos[:1], len(log.pos), axis=0))
    with pytest.raises(UserError, match=r"joint FL_hip_joint moves by 0.000 rad in the log, of which nothing"):
        identify(ROBOT, still)
    degrees = replace(log, pos=np.degrees(log.pos))
    with pytest.raises(UserError, match=r"pos_\w+ is from .* and the joint turns from .* rad: correct its unit, sign"):
        identify(ROBOT, degrees)


Change = Callable[[List[List[str]]], Any]


@pytest.mark.parametrize(("change", "said"), [
    (lambda rows: rows[0].__setitem__(1, "target_knee"), r"has no column 'target_\w+': a log of this robot has time_s"),
    (lambda rows: rows[9].__setitem__(3, "nan"), r"line 10: target_\w+ is 'nan', which is no finite number"),
    (lambda rows: rows[9].__delitem__(slice(5, None)), r"line 10: \w+ is '', which is no finite number"),
    (lambda rows: rows.__delitem__(slice(50, 60)), r"line 51: 0.055 s after the line before, where others are 0.005 s"),
    (lambda rows: [row.__setitem__(0, str(0.5 * i)) for i, row in enumerate(rows) if i],
     r"has a row every 0.5 s: give at least 50 rows a second, better 200"),
    (lambda rows: rows.__delitem__(slice(90, None)), r"has 89 rows: give at least 200"),
    (lambda rows: [row.append("pos_tail" if i == 0 else "0") for i, row in enumerate(rows)],
     r"unknown joint 'tail' in .*log.csv"),
])
def test_a_bad_log_is_one_sentence(change: Change, said: str, log: MotionLog, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    write_log(log, ROBOT.joints, path)
    rows = [line.split(",") for line in path.read_text().splitlines()]
    change(rows)
    path.write_text("\n".join(",".join(row) for row in rows))
    with pytest.raises(UserError, match=said):
        read_log(path, ROBOT.joints)


@pytest.mark.parametrize(("args", "said"), [
    (["none.csv"], "none.csv cannot be read as CSV"),
    (["x.csv", "--record", "--with", "armatuer:1"], "unknown parameter 'armatuer' in the recorder: did you mean"),
    (["x.csv", "--record", "--with", "latency_s:2"], "latency_s is 2: give a value from 0 to 0.1"),
    (["x.csv", "--record", "--with", "payload_kg:2"], "--with payload_kg is not seen of a robot that hangs: give"),
    (["x.csv", "--record", "--seconds", "nan"], "--seconds is nan: give from 2 to 600"),
    (["x.csv", "--with", "armature:1"], "--with is of the robot that is recorded: give --record too"),
    (["x.csv", "--yaml", "robot.txt"], "--yaml was given 'robot.txt': give a file that ends in .yml"),
])
def test_the_verbs_mistakes_are_one_sentence(args: List[str], said: str, capsys: pytest.CaptureFixture,
                                             tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["sysid", *args]) == 2
    assert said in capsys.readouterr().err
