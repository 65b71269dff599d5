"""What is seen of a training while it runs: pace, table, TensorBoard's first screen."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from sb3_isaac import PPO, IsaacVecEnv
from sb3_isaac.cli.main import main
from sb3_isaac.contract.tensor_env import Display, Panel, Shown
from sb3_isaac.contract.wording import reached, steps
from sb3_isaac.rl.callbacks import pace as pace_module
from sb3_isaac.rl.callbacks.pace import Pace, clock
from sb3_isaac.rl.callbacks.progress import progress_line
from sb3_isaac.rl.callbacks.table import Table
from sb3_isaac.rl.callbacks.tensorboard import TensorBoardScreen, flat, layout


def test_the_time_to_go_recovers_after_a_pause(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    pace = Pace(total=100_000, done=0)
    for i in range(1, 11):
        now[0] += 2.0
        pace.add(1000 * i)
    assert pace.per_s == pytest.approx(500.0) and pace.left_s == pytest.approx(180.0)
    now[0] += 3600.0  # the process stood still
    pace.add(11_000)
    assert pace.left_s == pytest.approx(178.0) and clock(pace.passed_s) == "1:00:20"


def test_the_pace_is_that_of_the_last_iterations(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    pace = Pace(total=10**6, done=500)
    for i in range(100):
        now[0] += 1.0 if i < 50 else 4.0
        pace.add(500 + 100 * (i + 1))
    assert pace.per_s == pytest.approx(25.0) and pace_module.ITERATIONS <= 50


@pytest.mark.parametrize("width", [60, 100])
def test_the_table_fits_the_terminal(width):
    console = pytest.importorskip("rich.console").Console(file=io.StringIO(), width=width, force_terminal=True)
    table = Table(console)
    rows = [("reward", "812.3"), ("a label that is much too long for it", "0.98 m/s"), ("falls", "3"),
            ("steps/s", "51,234")]
    table.say("  evaluation, 48 episodes: reward 1.0 [not markup]")
    table.show("  1.20M of 98.30M steps  10:00:00 gone, 100:00:00 to go", 0.4, rows)
    table.close()
    text = console.file.getvalue()
    assert "[not markup]" in text and "812.3" in text and "51,234" in text
    from rich.text import Text

    assert max(len(line) for line in Text.from_ansi(text).plain.splitlines()) <= width


def test_the_layout_names_the_curves_exactly():
    display = Display(progress=(Shown("speed", "rollout/speed"),), panels=(Panel("eval/falls", "falls\n(share)"),))
    charts = layout(display)["at a glance"]
    assert list(charts) == ["reward", "speed", "falls (share)"]
    assert charts["reward"] == ["Multiline", ["^rollout/ep_rew_mean$", "^eval/reward_mean$"]]


def test_settings_are_flat():
    assert flat({"a": {"b": 1, "c": {"d": "x"}}, "e": None, "f": (1, 2), "g": True}) == {
        "a.b": 1, "a.c.d": "x", "f": "(1, 2)", "g": True}


def test_tensorboard_has_the_layout_and_the_settings(tmp_path):
    from stable_baselines3.common.logger import configure
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    env = IsaacVecEnv("IsaacDoublePendulum-v0", num_envs=4, seed=0)
    model = PPO("MlpPolicy", env, n_steps=8, batch_size=32, n_epochs=1, seed=0)
    model.set_logger(configure(str(tmp_path), ["tensorboard"]))
    model.learn(32, callback=TensorBoardScreen({"algo": "ppo", "env_kwargs": {"num_envs": 4}}))
    model.logger.close()
    found = EventAccumulator(str(tmp_path))
    found.Reload()
    assert "custom_scalars__config__" in found.Tags()["tensors"]
    start = found.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    assert b"env_kwargs.num_envs" in start and b"ppo" in start


# ---- lines on a narrow terminal, and in a pipe

class Terminal(io.StringIO):
    """An output that is a terminal, of COLUMNS columns."""

    def isatty(self) -> bool:
        return True


TRAIN = ["train", "--env", "IsaacDoublePendulum-v0", "--num-envs", "8", "-n", "128", "--eval-episodes", "2", "--seed",
         "0", "-params", "n_steps:8", "n_epochs:1", "--env-kwargs", "episode_length_s:0.4"]


def test_counts_of_steps():
    assert [steps(count) for count in (1, 3072, 999_999, 1_204_000)] == ["1", "3,072", "999,999", "1.20M"]
    assert reached(3072, 10_000) == "3,072 of 10,000" and reached(6144, 98_300_000) == "6,144 of 98.30M"
    first = [reached(6144 * i, 10_002_432) for i in range(1, 100)]
    assert len(set(first)) == len(first), "each iteration's line differs from the one before"


def test_without_rich_lines_fit_a_terminal_of_60_columns(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rich", None)  # not installed
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert main([*TRAIN, "-f", str(tmp_path)]) == 0
    text, commands = sys.stdout.getvalue().split("done:\n")
    lines = [line for line in text.splitlines() if str(tmp_path) not in line]  # a name has no place to break it at
    assert max(map(len, lines)) <= 60 and "\x1b" not in text
    iterations = [line for line in lines if line.endswith(" to go")]
    assert len(iterations) == 2 and all(" of 128  reward " in line for line in iterations)
    assert all(line.startswith("  sb3-isaac ") for line in commands.splitlines())  # to be copied: one line each


def test_lines_in_a_pipe_are_whole(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "60")
    assert main([*TRAIN, "-f", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert len([line for line in out.splitlines() if line.endswith(" to go") and "steps/s" in line]) == 2
    assert f"{tmp_path}" in out.splitlines()[0] and "\x1b" not in out


@pytest.mark.parametrize(("width", "line"), [
    (None, "  1.20M of 98.30M  reward 812.3  length 1000  51,234 steps/s  0:10:00 gone, 1:40:00 to go"),
    (87, "  1.20M of 98.30M  reward 812.3  length 1000  51,234 steps/s  1:40:00 to go"),
    (60, "  1.20M of 98.30M  reward 812.3  length 1000  1:40:00 to go"),
    (40, "  1.20M of 98.30M  1:40:00 to go"), (20, "1.20M of 98.30M")])
def test_a_line_leaves_out_what_does_not_fit(width, line):
    numbers = ["reward 812.3", "length 1000", "51,234 steps/s"]
    assert progress_line("  1.20M of 98.30M", numbers, "0:10:00", "1:40:00", width) == line


# ---- a pause, by the signal itself

def test_the_time_to_go_recovers_after_a_signal_has_stopped_the_process():
    """40 of 100 iterations, and the process stands still for a second within one of them: that one does not count."""
    program = textwrap.dedent("""
        import time
        from sb3_isaac.rl.callbacks.pace import Pace
        pace, now = Pace(100, 0), time.perf_counter()
        for i in range(1, 41):
            time.sleep(0.01)
            pace.add(i)
            last, now = now, time.perf_counter()
            print(now - last, pace.left_s, flush=True)
        """)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        rows = [process.stdout.readline() for _ in range(10)]
        process.send_signal(signal.SIGSTOP)
        time.sleep(1.0)
        process.send_signal(signal.SIGCONT)
        rows += process.stdout.readlines()
    lasted = sorted(float(row.split()[0]) for row in rows)
    assert len(lasted) == 40 and process.returncode == 0 and lasted[-1] > 0.9
    assert float(rows[-1].split()[1]) == pytest.approx(60 * sum(lasted[:-1]) / 39, rel=0.1)
