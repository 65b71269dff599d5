"""Each tutorial: its script with few robots, its commands with few steps, and its page, which quotes the script."""

from __future__ import annotations

import math
import re
import runpy
from pathlib import Path
from typing import Any, Callable, List

import pytest
import yaml
from test_project import commands_of

from sb3_isaac.cli.main import main

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES, PAGES = ROOT / "examples", ROOT / "docs" / "tutorials"
SMALL = ["--num-envs", "8", "-n", "192", "--env-kwargs", "threads:1", "episode_length_s:0.4"]
FEW = {"num_envs": 8, "steps": 192}
QUOTED = {"my_reward.md": "my_reward.py", "my_observation.md": "my_observation.py", "my_robot.md": "my_robot.py",
          "my_task.md": "my_task.py my_tasks.py", "stock_sb3.md": "stock_sb3.py", "fine_tune.md": "fine_tune.py"}


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(EXAMPLES))  # as Python does for a script


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    assert main(["train", *SMALL, "-f", str(folder), "--eval-episodes", "2", "--eval-freq", "-1"]) == 0
    return folder / "ppo" / "IsaacQuadrupedFlat-v0_1"


def script(name: str) -> Callable[..., Any]:
    """The function `main` of an example."""
    function: Callable[..., Any] = runpy.run_path(str(EXAMPLES / name))["main"]
    return function


def commands(page: str, verb: str) -> List[List[str]]:
    """The commands of one verb on a page, without the verb."""
    found = [words[1:] for words in commands_of((PAGES / page).read_text(encoding="utf-8")) if words[0] == verb]
    assert found, (page, verb)
    return found


def test_each_page_is_in_the_list_and_tested_here() -> None:
    pages = {path.name for path in PAGES.glob("*.md")} - {"index.md"}
    assert pages == {*QUOTED, "tune.md", "isaacgym.md", "to_hardware.md"}
    assert pages == set(re.findall(r"\]\((\w+\.md)\)", (PAGES / "index.md").read_text(encoding="utf-8")))


@pytest.mark.parametrize("page", QUOTED)
def test_pages_quote_their_scripts(page: str) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (PAGES / page).read_text(encoding="utf-8"), re.DOTALL)
    lines = {line.strip() for name in QUOTED[page].split() for line in (EXAMPLES / name).read_text().splitlines()}
    assert blocks
    for line in "".join(blocks).splitlines():
        assert line.strip() in lines, line


def test_my_reward(capsys: pytest.CaptureFixture[str]) -> None:
    earned = script("my_reward.py")(**FEW)["reward/crouch"]
    assert 0 < earned < 0.5 and f"earns {earned:.2f} of 0.5" in capsys.readouterr().out


def test_my_observation() -> None:
    widths = script("my_observation.py")(**FEW)
    assert widths["touch"] == 4 and sum(widths.values()) == 48


def test_terms_by_the_commands(tmp_path: Path) -> None:
    for page in ("my_reward.md", "my_observation.md"):
        (words,) = commands(page, "train")
        at = words.index("--env-kwargs") + 1
        assert main(["train", *words[:at], *SMALL[-2:], *words[at:], *SMALL[:4], "--eval-freq", "-1",
                     "--eval-episodes", "2", "-f", str(tmp_path / page)]) == 0
    config = yaml.safe_load((tmp_path / "my_reward.md/ppo/IsaacQuadrupedFlat-v0_1/config.yml").read_text())
    assert "my_reward.crouch" in str(config)


def test_my_robot() -> None:
    robot, height_m, standing = script("my_robot.py")(**FEW)
    assert len(robot.joints) == 8 and robot.action_scale_rad == 0.4
    assert standing == 1.0 and height_m == pytest.approx(0.245, abs=0.005)


def test_my_robots_file_stands_and_can_be_written_down(tmp_path: Path) -> None:
    written = [words for words in commands("my_robot.md", "robot") if "--yaml" in words]
    assert main(["robot", str(EXAMPLES / "my_robot.xml"), *written[0][1:]]) == 0
    assert yaml.safe_load((tmp_path / "my_robot.yml").read_text())["kp"] == 20.0


def test_my_task() -> None:
    values = script("my_task.py")(steps=8192)
    assert 0 < values["rollout/ep_rew_mean"] < 100


def test_stock_sb3(tmp_path: Path) -> None:
    evaluation = script("stock_sb3.py")(**FEW, eval_envs=4)
    assert evaluation.eval_freq == 600
    assert {"quadruped.zip", "quadruped_vecnormalize.pkl"} <= {path.name for path in tmp_path.iterdir()}


def test_fine_tune_in_python(run: Path, tmp_path: Path) -> None:
    values = script("fine_tune.py")(run, **FEW)
    assert values["rollout/episodes"] > 0 and (tmp_path / "slow" / "policy.pth").is_file()


def test_fine_tune_by_the_command(run: Path, tmp_path: Path) -> None:
    for words in commands("fine_tune.md", "train")[1:2]:
        words[words.index("--from") + 1] = str(run)
        assert main(["train", *words, *SMALL[:4], "--eval-freq", "-1", "--eval-episodes", "2"]) == 0
    made = yaml.safe_load((tmp_path / "logs/ppo/IsaacQuadrupedFlat-v0_1/config.yml").read_text())
    assert made["IsaacQuadrupedFlat-v0"]["env_kwargs"]["command"]["forward_m_s"] == [0.2, 0.5]


def test_tune_on_two_machines(tmp_path: Path) -> None:
    """Two machines that share the journal alone; that they may run at the same time is in test_tune_workers.py."""
    (words,) = [words for words in commands("tune.md", "tune") if "--storage" in words]
    (tmp_path / "space.yml").write_text("IsaacDoublePendulum-v0:\n  gamma: {kind: float, low: 0.9, high: 0.99}\n")
    small = ["--env", "IsaacDoublePendulum-v0", "--num-envs", "8", "-n", "640", "-params", "n_minibatches:2",
             "n_epochs:1", "--env-kwargs", "episode_length_s:0.4", "--space", "space.yml", "--eval-episodes", "2",
             "--final-top", "0", "--pruner", "none", "--sampler", "random"]
    for machine, trials in (("a", "1"), ("b", "2")):
        line = [word.replace("/shared/study.log", "study.log").replace("/shared", machine) for word in words]
        assert main(["tune", *line, *small, "--max-total-trials", trials]) == 0
        assert (tmp_path / machine / "logs" / "tuning" / "ppo-IsaacDoublePendulum-v0" / "best.yml").is_file()


def test_isaac_gym_program(capsys: pytest.CaptureFixture[str]) -> None:
    (words,) = [words for words in commands("isaacgym.md", "run") if "--pipeline" in words]
    assert main(["run", *(str(ROOT / word) if word.startswith("examples") else word for word in words)]) == 0
    angle = float(re.findall(r"poles are at (\S+)", capsys.readouterr().out)[0])
    assert angle == pytest.approx(0.1 * math.cos(math.sqrt(9.81 * 0.5 / 0.26)), abs=2e-3)


def test_to_hardware(run: Path, tmp_path: Path) -> None:
    """The loop itself is run in test_onnx.py."""
    (words,) = commands("to_hardware.md", "export")
    assert main(["export", str(run), *words[1:]]) == 0
    assert yaml.safe_load((tmp_path / "deploy.yml").read_text())["control_hz"] == pytest.approx(50.0)
