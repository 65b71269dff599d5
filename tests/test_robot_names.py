"""Robots by description, package and verb."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sb3_isaac import IsaacVecEnv
from sb3_isaac.cli.main import main
from sb3_isaac.contract.errors import UserError
from sb3_isaac.robots import Robot, get_robot
from sb3_isaac.robots.registry import describe

pytest.importorskip("mujoco")
from robot_files import HEIGHT_M, POSE, dog, dog_urdf, keyframe, motors, write

from sb3_isaac.sim.robot_check import check_robot


@pytest.fixture
def path(tmp_path: Path) -> str:
    return write(tmp_path, dog(extra=motors() + keyframe()))


def test_a_description_is_a_file_and_what_is_given_besides(path: str, tmp_path: Path) -> None:
    expected = Robot.from_file(path, kp=30.0, action_scale_rad=0.4)
    assert get_robot({"mjcf": path, "kp": 30.0, "action_scale_rad": 0.4}) == expected
    yml = write(tmp_path, "mjcf: dog.xml\nkp: 30\naction_scale_rad: 0.4\n", "dog.yml")  # relative to its own folder
    assert get_robot(yml) == expected
    assert get_robot({"mjcf": "anymal", "kp": 80.0}) == replace(get_robot("anymal"), kp=80.0)  # type: ignore[arg-type]
    for given, says in (({"kp": 3}, "mjcf=None: give the path"), ({"mjcf": path, "kb": 3}, "did you mean 'k[pd]'"),
                        ({"mjcf": "anymal", "kb": 3}, "unknown field of a Robot 'kb'")):
        with pytest.raises(UserError, match=says):
            get_robot(given)


def test_an_environment_takes_a_file_or_a_description(path: str) -> None:
    for robot, kp in ((path, get_robot(path).kp), ({"mjcf": path, "kp": 30.0}, (30.0,) * 12)):
        env = IsaacVecEnv("IsaacQuadrupedFlat-v0", num_envs=2, robot=robot, threads=1)
        try:
            env.reset()
            _, rewards, _, _ = env.step(np.zeros((2, 12), np.float32))
            assert np.isfinite(rewards).all() and tuple(env.env.metadata()["kp"]) == kp
        finally:
            env.close()


@pytest.mark.parametrize("name", ["dog", "quadruped"])
def test_what_is_described_is_the_same_robot(name: str, path: str, tmp_path: Path) -> None:
    robot = get_robot(path if name == "dog" else name)
    text = describe(robot, tmp_path)
    again = get_robot(write(tmp_path, text, "again.yml"))
    if name == "quadruped":  # from a file, armature is derived where it is not given
        assert again.armature_kgm2 is not None
        again = replace(again, armature_kgm2=None)
    assert again == replace(robot, mjcf=again.mjcf) and Path(again.mjcf).samefile(robot.mjcf)


def test_a_menagerie_robot_by_name(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mujoco_menagerie")
    folder = tmp_path / "unitree_go2"
    folder.mkdir()
    write(folder, Path(path).read_text(encoding="utf-8"), "go2.xml")
    monkeypatch.setenv("MENAGERIE_ROOT", str(tmp_path))
    assert get_robot("menagerie/unitree_go2") == Robot.from_file(str(folder / "go2.xml"))
    with pytest.raises(UserError, match="unknown robot of MuJoCo Menagerie 'unitree_go': did you mean 'unitree_go"):
        get_robot("menagerie/unitree_go")
    monkeypatch.delenv("MENAGERIE_ROOT")
    monkeypatch.setenv("MENAGERIE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("MENAGERIE_BASE_URL", (tmp_path / "nowhere").as_uri())  # a download that fails at once
    with pytest.raises(UserError, match=r"'menagerie/unitree_a1' could not be downloaded .* or set MENAGERIE_ROOT"):
        get_robot("menagerie/unitree_a1")


def test_a_robot_of_robot_descriptions_by_name(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its modules clone a repository when they are imported, and then hold a path; this stands in for the package."""
    package = tmp_path / "robot_descriptions"
    package.mkdir()
    for name, text in (("__init__", ""), ("dog_description", f"MJCF_PATH = {path!r}"), ("other_description", ""),
                       ("far_description", "raise RuntimeError('no route to host')")):
        write(package, text, f"{name}.py")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [module for module in sys.modules if module.partition(".")[0] == "robot_descriptions"]:
        monkeypatch.delitem(sys.modules, name)
    assert get_robot("robot_descriptions/dog_description") == Robot.from_file(path)
    for name, says in (("far", "could not be downloaded .RuntimeError: no route to host"), ("cat", "unknown robot of"),
                       ("other", "has neither an MJCF nor a URDF")):
        with pytest.raises(UserError, match=says):
            get_robot(f"robot_descriptions/{name}_description")


def test_a_package_that_is_missing_is_told_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for name in ("menagerie/unitree_go2", "robot_descriptions/go2_mj_description"):
        with pytest.raises(UserError, match=r"which is not installed: run pip install 'sb3_isaac\[robots\]'"):
            get_robot(name)


def test_the_verb_prints_origins_checks_and_writes_what_was_derived(
        path: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    yml, png = tmp_path / "out" / "dog.yml", tmp_path / "out" / "dog.png"
    assert main(["robot", path, "--yaml", str(yml), "--picture", str(png)]) == 0
    said = capsys.readouterr().out
    assert "keyframe 'home'" in said and "the motors' control ranges" in said
    assert f"base_height_m      {HEIGHT_M:g}   <- the trunk above" in said
    row = next(line for line in said.splitlines() if line.startswith("FR_calf_joint"))
    assert row.split()[1:6] == ["-1.8", "-2.70", "to", "-0.50", f"{get_robot(path).kp[0]:g}"]
    assert row.split()[-3:] == ["0.1", "0", "0.01"]  # damping, friction, armature
    assert "ok   stands 2 s" in said and "ok   torque budget" in said
    assert get_robot(str(yml)) == replace(get_robot(path), mjcf=get_robot(str(yml)).mjcf)
    assert png.read_bytes()[:4] == b"\x89PNG"


def test_the_verb_takes_what_the_file_does_not_tell(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    silent, yml = write(tmp_path, dog(extra=keyframe()), "silent.xml"), tmp_path / "dog.yml"
    assert main(["robot", silent, "--yaml", str(yml)]) == 2
    assert "torque_limit_nm:20 --yaml robot.yml" in capsys.readouterr().err
    assert main(["robot", silent, "torque_limit_nm:40", "kp:60", "--yaml", str(yml)]) == 0
    assert set(get_robot(str(yml)).torque_limit_nm) == {40.0} and set(get_robot(str(yml)).kp) == {60.0}
    assert main(["robot", silent, "torque_limits:40"]) == 2 and main(["robot", silent, "kp"]) == 2
    assert main(["robot", "anymal", "kp:60"]) == 2
    assert "registered robot" in capsys.readouterr().err


def test_the_verb_says_what_a_robot_does_not_stand_for(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    weak = write(tmp_path, dog(extra=motors('motor ctrlrange="-1 1"') + keyframe()), "weak.xml")
    assert main(["robot", weak]) == 1
    said = capsys.readouterr().out
    assert "MIND stands 2 s" in said and "MIND torque budget" in said
    assert main(["robot", str(tmp_path / "none.xml")]) == 2
    assert main(["robot", weak, "--yaml", str(tmp_path / "weak.txt")]) == 2
    assert "give a file that ends in .yml" in capsys.readouterr().err


def test_checks_find_what_is_odd(tmp_path: Path) -> None:
    """Hips that turn freely, joints mixed over the legs, and a trunk that reaches into the thighs."""
    text = dog(extra=motors() + keyframe())
    text = text.replace('range="-0.8 0.8"', "").replace('size="0.2 0.08 0.05"', 'size="0.2 0.1 0.2"')
    path = write(tmp_path, text)
    names = Robot.from_file(path).joints
    mixed = Robot.from_file(path, joints=[*names[::3], *names[1::3], *names[2::3]],
                            default_joint_pos=(0.0,) * 4 + (0.9,) * 4 + (-1.8,) * 4)
    found = {check.name: check for check in check_robot(mixed)}
    assert not found["joint order"].holds and not found["joint limits"].holds
    assert not found["self-collision"].holds and "torso" in found["self-collision"].found
    shipped = {check.name: check.holds for check in check_robot(get_robot("quadruped"))}
    assert [name for name, holds in shipped.items() if not holds] == ["self-collision"]  # thighs in the hips' capsules


def test_a_urdf_goes_through_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write(tmp_path, dog_urdf(), "dog.urdf")
    pose = ", ".join(map(str, POSE * 4))
    yml = write(tmp_path, f"mjcf: dog.urdf\ndefault_joint_pos: [{pose}]\n", "dog.yml")
    assert main(["robot", yml]) == 0
    assert "efforts" in capsys.readouterr().out
