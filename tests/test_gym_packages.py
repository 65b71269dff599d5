"""``--gym-packages``: modules of the user's own, from the current folder, for the verbs of the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Iterator

import pytest

from sb3_isaac.bench import _iterate_alone
from sb3_isaac.bench.contenders import bench_config
from sb3_isaac.cli.main import main
from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.names import find_object

PENDULUM = ["--env", "IsaacDoublePendulum-v0", "--num-envs", "4", "-n", "32", "--eval-freq", "-1",
            "--eval-episodes", "2", "-params", "n_steps:8", "batch_size:32", "n_epochs:1"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A current folder that is not on sys.path yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("gympkg_"):
            del sys.modules[name]


def test_modules_of_the_current_folder_are_imported_for_each_verb(project: Path) -> None:
    for verb in ("train", "resume", "eval"):
        (project / f"gympkg_{verb}.py").write_text(f"open({verb!r} + '.txt', 'w').close()\n")
    assert main(["train", *PENDULUM, "--gym-packages", "gympkg_train"]) == 0 and (project / "train.txt").exists()
    run = "logs/ppo/IsaacDoublePendulum-v0_1"
    assert main(["train", "-i", run, "-n", "64", "--gym-packages", "gympkg_resume"]) == 0
    assert (project / "resume.txt").exists()
    assert main(["eval", run, "--episodes", "2", "--gym-packages", "gympkg_eval"]) == 0
    assert (project / "eval.txt").exists()


def test_without_the_flag_the_current_folder_is_not_on_the_path(project: Path) -> None:
    assert main(["train", *PENDULUM]) == 0
    assert str(project) not in sys.path


@pytest.mark.parametrize(("name", "words"), [
    ("gympkg_nowhere", ["gympkg_nowhere", "No module named"]),
    ("gympkg_broken", ["ZeroDivisionError", "gympkg_broken.py:2"]),
    ("gympkg_broken.py", ["name of a module", "my_tasks"]), ("../gympkg_broken", ["name of a module"])])
def test_a_module_that_cannot_be_imported_is_one_sentence(name: str, words: "list[str]", project: Path,
                                                          capsys: pytest.CaptureFixture[str]) -> None:
    (project / "gympkg_broken.py").write_text("x = 1\nx / 0\n")
    assert main(["train", *PENDULUM, "--gym-packages", name]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and all(word in said for word in words), said


def test_an_unknown_id_reminds_of_the_flag(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--env", "MyTask-v0"]) == 2
    assert "did you forget --gym-packages" in capsys.readouterr().err
    assert main(["train", *PENDULUM]) == 0
    for meta in project.glob("logs/ppo/*/**/meta.json"):
        meta.write_text(meta.read_text().replace("IsaacDoublePendulum-v0", "MyTask-v0"))
    assert main(["train", "-i", "logs/ppo/IsaacDoublePendulum-v0_1", "-n", "64"]) == 2
    assert "did you forget --gym-packages" in capsys.readouterr().err


def test_the_memory_process_of_the_bench_knows_what_is_in_them(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration may name a function of the package there as it may in the process that was given the flag."""
    (project / "gympkg_bench.py").write_text("def jump(features):\n    return features\n")
    monkeypatch.syspath_prepend(str(project))
    with pytest.raises(UserError, match="--gym-packages gympkg_bench"):
        find_object("gympkg_bench.jump", "reward term 'jump'")
    peak_mb = _iterate_alone("ppo", bench_config("IsaacDoublePendulum-v0", "ppo", 4, 0), ["gympkg_bench"])
    assert peak_mb > 0 and find_object("gympkg_bench.jump", "reward term 'jump'")(3) == 3
