"""``sb3-isaac run``: what a program sees, which isaacgym it gets, and what it is told when it cannot run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Iterator

import numpy as np
import pytest
import torch
from isaacgym_helpers import NVIDIAS, python, write

from sb3_isaac import UserError
from sb3_isaac.cli.main import main
from sb3_isaac.gymcompat import install
from sb3_isaac.gymcompat.install import MODULES, is_emulated, is_installed
from sb3_isaac.gymcompat.numpy_names import restore_numpy_names
from sb3_isaac.gymcompat.runtime.on_cpu import CudaToCpu
from sb3_isaac.gymcompat.runtime.settings import Settings, current, use

PROGRAM = """
import sys
import isaacgym
from isaacgym import gymapi, gymtorch, gymutil, torch_utils, terrain_utils
from isaacgym.torch_utils import *
import isaacgym.gymapi as again
import neighbour

assert again is gymapi and isaacgym.gymapi is gymapi and isaacgym.__emulated__ is True

class Pickled:
    pass

if __name__ == "__main__":
    import pickle
    assert type(pickle.loads(pickle.dumps(Pickled()))) is Pickled
    args = gymutil.parse_arguments(custom_parameters=[{"name": "--task", "type": str, "default": "ant"},
                                                      {"name": "--rl_device", "type": str, "default": "cuda:0"}])
    x = torch.zeros(2, device=args.rl_device) + torch.ones(2, device="cuda:0").to("cuda").cuda(0)
    net = torch.nn.Linear(2, 1).to("cuda:0")
    import io
    file = io.BytesIO()
    torch.save(net.state_dict(), file)
    file.seek(0)
    assert torch.load(file, map_location="cuda:0")["bias"].device.type == "cpu"
    print(sys.argv, args.task, args.sim_device, args.rl_device, net(x).device, neighbour.WORD, sys.path[0])
    sys.exit(7)
"""


def test_a_program_runs_as_if_python_ran_it(tmp_path: Path) -> None:
    write(tmp_path / "project", {"train.py": PROGRAM, "neighbour.py": "WORD = 'found'\n"})
    out = python("-m", "sb3_isaac", "run", "--sim", "mujoco", "--cuda-to-cpu", "project/train.py", "--task", "go2",
                 cwd=tmp_path)
    assert out.returncode == 7, out.stdout + out.stderr
    assert out.stdout.split("\n")[0] == (f"['project/train.py', '--task', 'go2'] go2 cpu cpu cpu found "
                                         f"{(tmp_path / 'project').resolve()}")
    assert out.stderr.count("isaacgym is emulated on MuJoCo") == 1


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """For what is run in this process: no isaacgym before, and none, nor another argv, path or numpy, after."""
    settings, names = current(), set(vars(np))
    for name in [name for name in sys.modules if name.split(".")[0] == "isaacgym"]:  # another test's emulation
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "argv", ["sb3-isaac"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    use(Settings())
    yield
    use(settings)
    for name in set(vars(np)) - names:
        delattr(np, name)
    for name in [name for name in sys.modules if name.split(".")[0] == "isaacgym"]:
        del sys.modules[name]


@pytest.mark.usefixtures("clean")
def test_what_a_program_cannot_have_is_a_sentence_with_the_flag_that_helps(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, {
        "device.py": "from isaacgym import gymutil\n\n\ndef main():\n    gymutil.parse_arguments()\n\n\nmain()\n",
        "torch_device.py": "import isaacgym, torch\ntorch.zeros(1, device='cuda:0')\n",
        "old.py": "import isaacgym\nimport numpy as np\nprint(np.float(3), np.int, np.zeros(1, dtype=np.bool))\n"})
    for program, hint, line in (("device.py", "--cuda-to-cpu", "device.py:5"),
                                ("torch_device.py", "--cuda-to-cpu", "torch_device.py:2"),
                                ("old.py", "--legacy-numpy", "old.py:3")):
        assert main(["run", "--sim", "mujoco", program]) == 2
        said = capfd.readouterr().err
        assert hint in said and line in said and "Traceback" not in said, said
    assert main(["run", "--sim", "mujoco", "--legacy-numpy", "old.py"]) == 0
    assert capfd.readouterr().out.startswith("3.0 <class 'int'>")


@pytest.mark.usefixtures("clean")
def test_bad_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, {"train.py": ""})
    for args, said in ((["nowhere.py"], "no program 'nowhere.py'"), ([], "required"),
                       (["--sim", "bullet", "train.py"], "--sim"), (["--fast", "train.py"], "--fast"),
                       (["--threads", "0", "train.py"], "--threads"),
                       (["--sim", "isaacgym", "train.py"], "NVIDIA's isaacgym is not installed here")):
        assert main(["run", *args]) == 2
        assert said in capsys.readouterr().err


def test_nvidias_package_is_taken_where_it_is_unless_told_otherwise(tmp_path: Path) -> None:
    write(tmp_path / "site" / "isaacgym", NVIDIAS)
    write(tmp_path, {"train.py": "import isaacgym\nprint(getattr(isaacgym, 'NVIDIA', False))\n"})
    for sim, theirs in (("auto", "True"), ("isaacgym", "True"), ("mujoco", "False")):
        out = python("-m", "sb3_isaac", "run", "--sim", sim, "train.py", cwd=tmp_path, path=tmp_path / "site")
        assert out.returncode == 0 and out.stdout.strip() == theirs, out.stdout + out.stderr
        assert ("isaacgym is NVIDIA's, from" in out.stderr) == (theirs == "True")


def test_nvidias_package_that_came_first_stays(tmp_path: Path) -> None:
    write(tmp_path / "isaacgym", NVIDIAS)
    code = ("import isaacgym\nfrom sb3_isaac import gymcompat, UserError\nprint(gymcompat.install())\n"
            "try:\n    gymcompat.install('mujoco')\nexcept UserError as error:\n    print(error)")
    out = python("-c", code, cwd=tmp_path, path=tmp_path)
    lines = out.stdout.split("\n")
    assert lines[0] == "isaacgym" and "after NVIDIA's isaacgym was imported" in lines[1], out.stdout + out.stderr


@pytest.mark.parametrize(("call", "imported"), [
    ("env_kwargs=['sim:isaacgym']", True), ("env_kwargs=['sim:mujoco'], run='there'", False), ("run='there'", True),
    ("run='client'", True), ("run='here'", False), ("env='legged_gym:go2'", True), ("", False)])
def test_commands_import_nvidias_package_before_torch_where_they_need_it(tmp_path: Path, call: str,
                                                                         imported: bool) -> None:
    write(tmp_path / "isaacgym", NVIDIAS)
    for name, text in (("there", "A-v0:\n  n_envs: 3\n  env_kwargs:\n    sim: isaacgym\n"),
                       ("client", "legged_gym:go2:\n  n_envs: 3\n"), ("here", "A-v0:\n  n_envs: 3\n")):
        write(tmp_path / name, {"config.yml": text})
    code = ("import sys; from sb3_isaac.cli.main import import_isaacgym_if_needed; "
            f"import_isaacgym_if_needed({call}); print('isaacgym' in sys.modules, 'torch' in sys.modules)")
    out = python("-c", code, cwd=tmp_path, path=tmp_path)
    assert out.stdout.split() == [str(imported), "False"], out.stdout + out.stderr


@pytest.mark.usefixtures("clean")
def test_installing_twice_keeps_what_was_settled(capsys: pytest.CaptureFixture[str]) -> None:
    assert not is_installed() and not is_emulated()
    assert install("mujoco", cuda_to_cpu=True, threads=2) == "mujoco"
    assert install() == "mujoco" and current().cuda_to_cpu and current().threads == 2
    assert install(threads=1) == "mujoco" and current().cuda_to_cpu and current().threads == 1
    assert capsys.readouterr().err.count("emulated") == 1
    assert is_emulated() and not is_installed()
    import isaacgym  # the emulation

    assert sorted(name for name in vars(isaacgym) if not name.startswith("_")) == sorted(MODULES)
    with pytest.raises(ImportError):
        import isaacgym.omniverse
    with pytest.raises(UserError, match="after the emulated isaacgym was imported"):
        install("isaacgym")
    with pytest.raises(UserError, match="did you mean 'mujoco'"):
        install("mujocco")


@pytest.mark.usefixtures("clean")
def test_numpy_keeps_the_names_it_has() -> None:
    before = {name: getattr(np, name) for name in ("bool", "float64", "prod")}
    assert "float" not in vars(np)
    restore_numpy_names()
    assert np.float is float and np.int is int and np.product is np.prod  # type: ignore[attr-defined]
    assert all(getattr(np, name) is value for name, value in before.items())


def test_cuda_to_cpu_can_be_entered_again_and_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:  # a file that was saved on a GPU
        patch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        torch.save(torch.ones(2), tmp_path / "there.pt")
    for _ in range(3):
        with CudaToCpu():
            assert torch.zeros(2, device="cuda:0").device.type == "cpu"
            assert torch.load(tmp_path / "there.pt", weights_only=True).tolist() == [1, 1]
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="CUDA"):
            torch.load(tmp_path / "there.pt", weights_only=True)


@torch.jit.script
def scripted_draw(count: int, device: str) -> torch.Tensor:
    return torch.rand(count, device=device)


@torch.compile(backend="eager")
def compiled_sum(x: torch.Tensor) -> torch.Tensor:
    """As rl_games 1.6 compiles its likelihood, numpy inside."""
    return 0.5 * np.log(2.0 * np.pi) * x.size(-1) + x.sum(-1)


def test_cuda_to_cpu_reaches_scripted_functions_and_gets_along_with_compiled_ones() -> None:
    with CudaToCpu():
        assert scripted_draw(3, "cuda:0").device.type == "cpu"
        assert scripted_draw(3, device="cuda:0").shape == (3,)
        right = 3 + 1.5 * np.log(2 * np.pi)
        assert compiled_sum(torch.ones(2, 3, device="cuda:0")).tolist() == pytest.approx([right] * 2)
    with pytest.raises(Exception, match=r"(?i)cuda|nvidia"):
        scripted_draw(3, "cuda:0")


@pytest.mark.usefixtures("clean")
def test_a_program_keeps_the_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                        capsys: pytest.CaptureFixture[str]) -> None:
    """Its own folder comes first, and the first folder of PYTHONPATH, where clients' packages are, still is there."""
    script = write(tmp_path, {"where.py": "import sys\nprint(sys.path[:2])\n"}) / "where.py"
    monkeypatch.setattr(sys, "path", ["/first", *sys.path])
    assert main(["run", "--sim", "mujoco", str(script)]) == 0
    assert str([str(tmp_path), "/first"]) in capsys.readouterr().out
