"""What the README promises of the repository itself: its commands, its examples, its style."""

from __future__ import annotations

import configparser
import importlib
import inspect
import re
import runpy
import shlex
import subprocess
import sys
import tarfile
import types
from pathlib import Path, PurePosixPath
from typing import List, get_args

import pytest
import stable_baselines3
from test_architecture import LAYERS

from sb3_isaac import IsaacVecEnv
from sb3_isaac.cli.main import VERBS, ArgumentParser, main
from sb3_isaac.clients import env_options
from sb3_isaac.contract import ids
from sb3_isaac.rl.algo.options import PPOArguments
from sb3_isaac.tasks.options import LeggedId, LeggedOptions

ROOT = Path(__file__).resolve().parents[1]


def test_ci_runs_the_readmes_test_command() -> None:
    commands = re.findall(r"```bash\n(python -m venv .*)\n```", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(commands) == 2 and commands[0].endswith("sb3-isaac train")
    assert commands[1].endswith("pytest -n auto --dist loadfile")
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith(commands[1])


def test_requirements_with_a_condition_stand_on_lines_of_their_own() -> None:
    """setuptools takes a semicolon on the line of the extra's name for the end of a requirement."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    wanted = {"install_requires": setup["options"]["install_requires"], **setup["options.extras_require"]}
    assert "warp" in wanted
    for name, value in wanted.items():
        assert value.startswith("\n") or ";" not in value, name


def test_an_older_python_is_told_before_anything_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """``setup.py`` runs before pip looks at requirements; the line for Isaac Gym's Python 3.8 passes it."""
    monkeypatch.setitem(sys.modules, "setuptools", types.SimpleNamespace(setup=lambda: None))
    monkeypatch.setattr(sys, "version_info", (3, 10))
    monkeypatch.delenv("PIP_IGNORE_REQUIRES_PYTHON", raising=False)
    with pytest.raises(SystemExit, match=r"needs Python 3\.11 or newer.*this is Python 3\.10"):
        runpy.run_path(str(ROOT / "setup.py"))
    monkeypatch.setenv("PIP_IGNORE_REQUIRES_PYTHON", "1")
    runpy.run_path(str(ROOT / "setup.py"))


def test_the_readme_is_short() -> None:
    assert (ROOT / "README.md").read_text(encoding="utf-8").count("\n") <= 200


@pytest.mark.parametrize("page", ["README.md", "docs/index.md", "docs/troubleshooting.md"])
def test_the_cpu_build_of_torch_is_that_of_the_constraints(page: str) -> None:
    (version,) = re.findall(r"^torch==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    line = f"pip install torch=={version} --index-url https://download.pytorch.org/whl/cpu"
    assert line in (ROOT / page).read_text(encoding="utf-8")


PAGES = ["README.md", "CONTRIBUTING.md", "tuning/README.md",
         *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    """Those to a name of the reference are checked where the site is built."""
    for link in re.findall(r"\]\((?!http)([^)]+)\)", (ROOT / page).read_text(encoding="utf-8")):
        file, _, heading = link.partition("#")
        target = ((ROOT / page).parent / file.replace("\\", "")).resolve() if file else ROOT / page
        assert target.exists(), link
        headings = [_anchor(line) for line in target.read_text(encoding="utf-8").splitlines()
                    if line.startswith("#")] if heading and not heading.startswith("sb3_isaac") else [heading]
        assert not heading or heading in headings, link


def _anchor(heading: str) -> str:
    """The address that GitHub gives a heading."""
    return re.sub(r"[^\w -]", "", heading.lstrip("# ").lower()).replace(" ", "-")


def test_the_readme_has_every_layer() -> None:
    text = re.search(r"```text\n(cli → .*?)\n```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert text is not None
    named = re.split(r"\s*→\s*|, ", text[1])
    assert len(set(named)) == len(named)
    assert set(named) == {name.split(".")[0] for names in LAYERS for name in names}


@pytest.mark.parametrize("page", ["docs/own_task.md"])
def test_python_of_the_docs_runs_as_it_stands(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    (tmp_path / "my_tasks.py").write_text((ROOT / "examples" / "my_tasks.py").read_text())
    (tmp_path / "docs.py").write_text("\n".join(blocks))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))  # as Python does for a script
    monkeypatch.delitem(sys.modules, "my_tasks", raising=False)
    known = set(ids._TASKS)
    runpy.run_path("docs.py", run_name="__main__")
    sys.modules.pop("my_tasks", None)
    for name in set(ids._TASKS) - known:  # other tests' lists are without them
        del ids._TASKS[name]
    assert "[16, 49]" in capsys.readouterr().out


def test_commands_in_the_help_are_commands(monkeypatch: pytest.MonkeyPatch,
                                           capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "300")  # no command is broken
    assert main(["--help"]) == 0
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    example = said.rpartition("For example: ")[2]
    commands = [shlex.split(text)[1:] for text in (*re.findall(r"'(sb3-isaac [a-z][^']*)'", said), example)]
    assert [words[0] for words in commands] == ["demo", "train", "play", "list", "train"]
    for verb, *rest in commands:
        parser_of(verb).parse_args(rest)


def parser_of(verb: str) -> ArgumentParser:
    """What reads the arguments of one verb."""
    parser = ArgumentParser(prog=verb, allow_abbrev=False)
    importlib.import_module(f"sb3_isaac.cli.{verb}").add_arguments(parser)
    return parser


def commands_of(text: str) -> List[List[str]]:
    """Words of each ``sb3-isaac`` command in the shell blocks of a page, without comments, variables and pipes."""
    lines = [line for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
             for line in block.replace("\\\n", " ").splitlines()]
    words = [shlex.split(line, comments=True) for line in lines]
    return [line[line.index("sb3-isaac") + 1:] for line in words if "sb3-isaac" in line]


@pytest.mark.parametrize("page", PAGES)
def test_commands_on_a_page_are_commands(page: str) -> None:
    commands = commands_of((ROOT / page).read_text(encoding="utf-8"))
    assert commands or page != "README.md"
    for command in commands:
        verb, *rest = [word for word in command if word not in ("[RUN", "...]")]
        assert verb in VERBS, command
        parser_of(verb).parse_args(rest)


def test_package_data_names_every_file_that_is_no_source() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    patterns = [pattern.strip() for pattern in setup["options.package_data"]["sb3_isaac"].split(",")]
    listed = subprocess.run(["git", "ls-files", "sb3_isaac"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    data = [path[len("sb3_isaac/"):] for path in listed if not path.endswith(".py")]
    if not data:
        pytest.skip("not a git checkout")
    for path in data:
        assert any(PurePosixPath(path).match(pattern) and path.count("/") == pattern.count("/")
                   for pattern in patterns), path
    for pattern in patterns:
        assert list((ROOT / "sb3_isaac").glob(pattern)), f"{pattern} names no file"


def test_a_source_distribution_is_whole(tmp_path: Path) -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    if not listed:
        pytest.skip("not a git checkout")
    build = f"from setuptools import build_meta; build_meta.build_sdist({str(tmp_path)!r})"
    out = subprocess.run([sys.executable, "-c", build], cwd=ROOT, capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    assert set(listed) - names <= {".gitignore", ".ci/warp"}


def test_types_name_every_option_there_is() -> None:
    """What only type checkers read is compared with what is: tests/typed_program.py is a program that mypy reads."""
    env = inspect.signature(IsaacVecEnv.__init__).parameters
    options = {name for task in get_args(LeggedId) for name in env_options(task)} - set(env)
    assert set(LeggedOptions.__annotations__) == options
    arguments = set(inspect.signature(stable_baselines3.PPO.__init__).parameters) - {"self", "policy", "env"}
    assert set(PPOArguments.__annotations__) == arguments


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_shell_completes_verbs_flags_and_ids(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(verb in script for verb in VERBS) and "--num-envs" in script and "IsaacQuadrupedRough-v0" in script


@pytest.mark.parametrize("command", [["ruff", "check", "."], ["mypy"]], ids=["ruff", "mypy"])
def test_style(command: list) -> None:
    out = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    assert out.returncode == 0, out.stdout + out.stderr


def test_an_example_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                      capsys: pytest.CaptureFixture[str]) -> None:
    """Those of the tutorials are in test_tutorials.py."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["walk_one_robot.py"])
    runpy.run_path(str(ROOT / "examples" / "walk_one_robot.py"), run_name="__main__")
    assert "still up after 20.0 s" in capsys.readouterr().out
