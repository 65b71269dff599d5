"""The audit reads a program's syntax and asks the emulation what it has."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import List

import pytest
from isaacgym_helpers import write

from sb3_isaac import UserError
from sb3_isaac.cli.main import main
from sb3_isaac.gymcompat.audit import audit, is_covered, table, uses_of

PROGRAM = '''
import isaacgym.torch_utils as tu
from isaacgym import gymapi, gymtorch as bridge
from isaacgym.torch_utils import *
from isaacgym.terrain_utils import SubTerrain as Patch
import numpy

raise RuntimeError("an audit runs nothing")


class Task:
    def __init__(self, scale):
        self.gym = gymapi.acquire_gym()
        options = gymapi.AssetOptions()
        options.fix_base_link = True
        options.no_such_option = 3
        self.sim = self.gym.create_sim(0, -1, gymapi.SIM_PHYSX, gymapi.SimParams())
        self.gym.create_usd_exporter(None)
        patch = Patch("flat", 3, 3)
        self.root = bridge.wrap_tensor(self.gym.acquire_actor_root_state_tensor(self.sim))
        own = self.root[:, 3:7] * scale
        self.velocity = quat_rotate_inverse(own, self.root[:, 7:10])
        return tu.quat_mul(own, own) + numpy.zeros(3) + invented(own)
'''


def symbols(text: str) -> List[str]:
    return sorted(symbol for symbol, _ in uses_of(ast.parse(text)))


def test_every_use_of_a_program_is_found_and_nothing_else() -> None:
    assert symbols(PROGRAM) == sorted([
        "AssetOptions.fix_base_link", "AssetOptions.no_such_option", "Gym.acquire_actor_root_state_tensor",
        "Gym.create_sim", "Gym.create_usd_exporter", "gymapi.AssetOptions", "gymapi.SIM_PHYSX", "gymapi.SimParams",
        "gymapi.acquire_gym", "gymtorch.wrap_tensor", "terrain_utils.SubTerrain", "torch_utils.invented",
        "torch_utils.quat_mul", "torch_utils.quat_rotate_inverse"])


def test_names_that_look_alike_are_not_isaac_gyms() -> None:
    assert symbols("import gym\ngym.make('Ant-v0')\nenv.gym.simulate(s)\n") == ["Gym.simulate"]
    assert symbols("from legged_gym.utils import *\nquat_apply(a, b)\n") == []
    # With a second star import a name is Isaac Gym's only if the emulation has it.
    both = "from isaacgym.torch_utils import *\nfrom other import *\nquat_apply(a, b)\nhelper(a)\nnp.zeros(3)\n"
    assert symbols(both) == ["torch_utils.quat_apply"]
    assert symbols("from isaacgym import gymapi as api\nbox = api.Transform()\nbox.p = api.Vec3(0, 0, 1)\n") == \
        ["Transform.p", "gymapi.Transform", "gymapi.Vec3"]


def test_coverage_is_asked_of_the_emulation() -> None:
    for symbol in ("Gym.create_sim", "gymapi.Vec3", "gymapi.KEY_ESCAPE", "gymtorch.wrap_tensor", "torch_utils.scale",
                   "SimParams.dt", "Vec3.x", "Transform.p", "AssetOptions.fix_base_link", "gymutil.parse_arguments"):
        assert is_covered(symbol), symbol
    for symbol in ("Gym.create_usd_exporter", "Gym.no_such_call", "gymapi.NoSuchStruct", "NoSuchStruct.x",
                   "AssetOptions.no_such_option", "torch_utils.invented"):
        assert not is_covered(symbol), symbol


def test_a_folder_and_its_table(tmp_path: Path) -> None:
    write(tmp_path / "task", {"task.py": PROGRAM, "old.py": "print 'Python 2'\n", "notes.txt": "gymapi.Vec3"})
    write(tmp_path / "task" / ".venv", {"skipped.py": "from isaacgym import gymapi\ngymapi.Quat()\n"})
    result = audit(tmp_path / "task")
    assert result.files == 2 and [Path(name).name for name in result.unread] == ["old.py"]
    assert list(result.missing()) == ["AssetOptions.no_such_option", "Gym.create_usd_exporter", "torch_utils.invented"]
    text = table(result)
    assert "11 of 14 symbols covered, 78.6%; 11 of 14 uses; 2 files" in text
    assert f"not there: {tmp_path / 'task' / 'task.py'}:18" in text and "no Python 3: " in text


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, {"clean.py": "from isaacgym import gymapi\ngym = gymapi.acquire_gym()\n", "empty.py": ""})
    assert main(["run", "--audit", "clean.py"]) == 0
    assert "1 of 1 symbols covered, 100.0%" in capsys.readouterr().out
    assert "none used" in table(audit(tmp_path / "empty.py"))
    for given in ("nowhere", "nowhere.py"):
        with pytest.raises(UserError, match="there is no Python program"):
            audit(tmp_path / given)
    assert main(["run", "--audit", "clean.py", "empty.py"]) == 2
    assert "give one script or folder" in capsys.readouterr().err
