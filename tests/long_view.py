"""The live page in headless Chromium: screenshots, what is pressed, and what looking costs a training.

    python -m pytest tests/long_view.py

needs Chromium and the Python package playwright, which drives it. Screenshots go to the folder in SB3_ISAAC_SHOTS, else
to a temporary one.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

pytest.importorskip("playwright.sync_api")

from playwright.sync_api import sync_playwright

from sb3_isaac import PPO, IsaacVecEnv, VecNormalize, load_policy
from sb3_isaac.rl.callbacks.iteration import IterationCallback
from sb3_isaac.rl.policy.evaluate import make_eval_env
from sb3_isaac.rl.policy.export import acts_on_groups
from sb3_isaac.view.live.playing import show
from sb3_isaac.view.live.server import LiveServer
from sb3_isaac.view.live.training import TrainingPage
from sb3_isaac.view.playing import Playing

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
FLAT = "IsaacQuadrupedFlat-v0"


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as driver:
        made = driver.chromium.launch(executable_path=CHROMIUM, timeout=120_000, args=[
            "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"])
        yield made
        made.close()


@pytest.fixture
def shots(tmp_path):
    folder = Path(os.environ.get("SB3_ISAAC_SHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_play_in_the_browser(browser, shots):
    env = make_eval_env(load_policy(FLAT), 5, seed=0, threads=1)
    playing, server = Playing(env, acts_on_groups(load_policy(FLAT))), LiveServer(port=0)
    threading.Thread(target=show, daemon=True, args=(playing, server, FLAT, "shipped", {}, lambda s: time.sleep(0.02))
                     ).start()
    asked, wrong = [], []
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(server.url, wait_until="domcontentloaded", timeout=120_000)
    page.wait_for_selector("#curves canvas", timeout=120_000)
    for width in (1280, 400):
        page.set_viewport_size({"width": width, "height": 800})
        time.sleep(5)
        page.screenshot(path=str(shots / f"play_{width}.png"), timeout=120_000)
        stage = imread(shots / f"play_{width}.png")[100:400, :min(width, 900), :3].reshape(-1, 3)
        assert len(np.unique(stage, axis=0)) > 500, "robots are drawn"
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "no sideways scrolling"
    page.evaluate("() => { const i = document.querySelector('#controls input'); i.value = 0.5;"
                  "i.dispatchEvent(new Event('input')); }")
    page.get_by_role("button", name="Push").click()
    page.get_by_role("button", name="Pause").click()
    page.wait_for_selector("button:has-text('Go on')", timeout=60_000)
    assert env.command[0, 0].item() == pytest.approx(0.5, abs=0.01)
    assert wrong == [] and all(url.startswith(server.url) or url.startswith("data:") for url in asked)
    page.close()
    server.close()


READER = """
import http.client, sys
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
connection.request("GET", "/events")
answer = connection.getresponse()
while answer.read1(65_536):
    pass
"""
"""A browser's part of the stream, in a process of its own: on another machine it would cost this one nothing."""


class Spending(IterationCallback):
    """Seconds on processors of a training's iterations after the first, and what of them a page took.

    The first builds and sends the robots' shapes. What the page takes is counted where it is spent, in its callback, in
    its log and in its server's threads: the difference between two trainings would be lost in what other programs on
    the machine make of caches and clocks.
    """

    def __init__(self, page=None):
        super().__init__()
        self.page, self.taken, self.iterations = page, [], []

    def _on_training_start(self):
        self._others = set(threading.enumerate()) - {threading.main_thread()} if self.page is not None else set()
        if self.page is not None:
            for function in ("on_step", "on_rollout_start", "on_rollout_end"):
                setattr(self.page, function, self._counted(getattr(self.page, function)))
            log = self.logger.output_formats[-1]
            log.write = self._counted(log.write)

    def _counted(self, function):
        def run(*args, **kwargs):
            start = time.thread_time()
            result = function(*args, **kwargs)
            self.taken.append(time.thread_time() - start)
            return result
        return run

    def _on_iteration_start(self):
        self._now, before = (time.process_time(), sum(self.taken) + self._by_server()), getattr(self, "_now", None)
        if before is not None:
            self.iterations.append([b - a for a, b in zip(before, self._now)])

    def _by_server(self):
        return sum(time.clock_gettime(time.pthread_getcpuclockid(thread.ident)) for thread in threading.enumerate()
                   if thread in self._others or "process_request" in thread.name)


def spent(model, server=None, iterations=4):
    """(processor seconds of an iteration, share of them that the page took), medians."""
    page = None if server is None else TrainingPage(server, 10**9)
    spending = Spending(page)
    model.learn(1024 * 24 * iterations, callback=[*([] if page is None else [page]), spending],
                reset_num_timesteps=False)
    taken = [by_page / (whole - by_page) for whole, by_page in spending.iterations[1:]]
    return statistics.median(whole for whole, _ in spending.iterations[1:]), statistics.median(taken)


def test_what_looking_costs(capsys):
    """A browser on another machine costs this one the stream that it is sent; on this machine it also draws."""
    env = VecNormalize(IsaacVecEnv(FLAT, num_envs=1024, seed=0, threads=1))
    model = PPO("MlpPolicy", env, n_steps=24, batch_size=6144, n_epochs=2, seed=0)
    found = {"alone": [], "page, nobody looks": [], "somebody looks": []}
    for _ in range(2):
        found["alone"].append(spent(model))
        found["page, nobody looks"].append(spent(model, LiveServer(port=0)))
        server = LiveServer(port=0)
        reader = subprocess.Popen([sys.executable, "-c", READER, server.url.rstrip("/").rsplit(":", 1)[1]])
        while not server.watched:
            time.sleep(0.1)
        found["somebody looks"].append(spent(model, server))
        reader.wait(timeout=60)
    env.close()
    with capsys.disabled():
        for name, rows in found.items():
            ratios = [row[0] / alone[0] for row, alone in zip(rows, found["alone"])]
            print(f"\n{name:20} {statistics.median(row[0] for row in rows):.3f} s of processor an iteration, "
                  f"{statistics.median(ratios):.3f} of that alone; taken by the page "
                  f"{statistics.median(row[1] for row in rows):.2%}", end="")
    assert statistics.median(row[1] for row in found["page, nobody looks"]) < 0.02
    assert statistics.median(row[1] for row in found["somebody looks"]) < 0.10
