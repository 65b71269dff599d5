"""What the README promises of the repository itself: its commands, its examples, its style."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ENV = {**os.environ, "OMP_NUM_THREADS": "1"}


def test_ci_runs_the_readmes_test_command() -> None:
    commands = re.findall(r"```bash\n(python -m venv .*)\n```", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(commands) == 2 and commands[0].endswith("sb3-isaac train") and commands[1].endswith("pytest")
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith(commands[1])


def test_readme_links_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(links) > 10
    for link in links:
        assert (ROOT / link).exists(), link


@pytest.mark.parametrize("command", [["ruff", "check", "."], ["mypy"]], ids=["ruff", "mypy"])
def test_style(command: list) -> None:
    out = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    assert out.returncode == 0, out.stdout + out.stderr


@pytest.mark.parametrize(("script", "argument", "word"), [
    ("bring_your_own_env.py", "2048", "episodes lasted"), ("another_robot.py", None, "64 of 64 feet"),
    ("walk_one_robot.py", None, "still up after 20.0 s"),
])
def test_examples_run_as_they_stand(script: str, argument: str, word: str, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "examples" / script), *([argument] if argument else [])]
    out = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=ENV)
    assert out.returncode == 0 and word in out.stdout, out.stdout + out.stderr


def test_the_stock_example_on_few_robots(tmp_path: Path) -> None:
    source = (ROOT / "examples" / "stock_sb3.py").read_text()
    small = source.replace("num_envs=4096", "num_envs=16").replace("10_000_000", "800").replace("8192", "96")
    assert small.count("16") and "800" in small and small != source
    (tmp_path / "small.py").write_text(small)
    out = subprocess.run([sys.executable, "small.py"], capture_output=True, text=True, cwd=tmp_path, env=ENV)
    assert out.returncode == 0 and "approx_kl" in out.stdout, out.stdout + out.stderr
    assert {"quadruped.zip", "quadruped_vecnormalize.pkl"} <= {p.name for p in tmp_path.iterdir()}
