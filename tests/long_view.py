"""The live page in headless Chromium: screenshots, what is pressed, and what looking costs a training.

    python -m pytest tests/long_view.py

needs Chromium and the Python package playwright, which drives it. Screenshots go to the folder in SB3_ISAAC_SHOTS, else
to a temporary one.
"""

from __future__ import annotations

import os
import shutil
import statistics
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


class Durations(IterationCallback):
    """Seconds of each iteration, of all this process's threads on processors and by the clock."""

    def _on_training_start(self):
        self.all, self._last = [], (time.process_time(), time.perf_counter())

    def _on_iteration_end(self):
        now = (time.process_time(), time.perf_counter())
        self.all.append([b - a for a, b in zip(self._last, now)])
        self._last = now


def iteration_s(server=None, iterations=10):
    """The median iteration of 1024 robots, s, on processors and by the clock; and the first on processors,
    in which a browser that has just come is sent the robots' shapes."""
    env = VecNormalize(IsaacVecEnv(FLAT, num_envs=1024, seed=0, threads=1))
    model = PPO("MlpPolicy", env, n_steps=24, batch_size=6144, n_epochs=2, seed=0)
    durations = Durations()
    watchers = [] if server is None else [TrainingPage(server, 10**9)]
    model.learn(1024 * 24 * iterations, callback=[*watchers, durations])
    env.close()
    return [statistics.median(column) for column in zip(*durations.all[2:])] + [durations.all[0][0]]


def test_what_looking_costs(capsys):
    """A browser on another machine costs this one the stream that it is sent; on this machine it also draws."""
    import http.client

    def reader(server):
        connection = http.client.HTTPConnection("127.0.0.1", int(server.url.rstrip("/").rsplit(":", 1)[1]))
        connection.request("GET", "/events")
        answer = connection.getresponse()
        while answer.read1(65_536):
            pass

    found = {"alone": [], "page, nobody looks": [], "somebody looks": []}
    iteration_s(iterations=3)
    for _ in range(2):
        found["alone"].append(iteration_s())
        found["page, nobody looks"].append(iteration_s(LiveServer(port=0)))
        server = LiveServer(port=0)
        threading.Thread(target=reader, args=(server,), daemon=True).start()
        time.sleep(0.5)
        found["somebody looks"].append(iteration_s(server))
    best = {name: [min(column) for column in zip(*rows)] for name, rows in found.items()}
    with capsys.disabled():
        for name, (cpu, clock, first) in best.items():
            print(f"\n{name:20} {cpu:.3f} s of processor, {clock:.3f} s by the clock, each iteration; the first "
                  f"{first:.3f} s of processor", end="")
    alone = best["alone"][0]
    assert best["page, nobody looks"][0] < 1.02 * alone and best["somebody looks"][0] < 1.10 * alone
