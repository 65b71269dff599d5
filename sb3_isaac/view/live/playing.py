"""A policy at work on the page: robots, what is measured of the first, and controls."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, List, Mapping, Sequence

from sb3_isaac.view.controls import Controls
from sb3_isaac.view.live.content import Curves, clip, number, scene
from sb3_isaac.view.live.server import LiveServer
from sb3_isaac.view.playing import Playing

CLIP_S, NUMBERS_S, IDLE_S = 0.1, 0.25, 0.05
"""Simulated seconds of a clip, and between numbers; seconds of sleep while there is nothing to do."""
TERM = "reward/"


def show(playing: Playing, page: LiveServer, title: str, what: str, ranges: Mapping[str, Sequence[float]],
         wait_until: Callable[[float], None], end_s: float = float("inf")) -> None:
    """Play on `page` until `end_s` simulated seconds have passed, or for ever. While nobody looks, nothing moves.

    :param title: of the page; `what` is said below it.
    :param ranges: of a command's numbers, see :class:`~sb3_isaac.view.controls.Controls`.
    :param wait_until: called with the simulated seconds so far, to keep pace with the clock.
    """
    env = playing.env
    stage = env.stage()
    controls = Controls(stage, env.num_envs, ranges)
    every = max(1, round(CLIP_S / env.control_dt))
    shown = {f"overlay/{key}": label for label, key, _ in env.display.overlay}
    curves = Curves({"reward": "reward of a step", **shown}, "seconds")
    page.keep("scene", lambda: {**scene(stage, env.num_envs, title, what),
                                "steering": [axis._asdict() for axis in controls.axes]})
    page.keep("controls", controls.state)
    page.keep("curves", curves.content)
    passed_s = numbers_s = 0.0
    snapshots: List[Any] = []
    while passed_s < end_s:
        actions = page.actions()
        for action in actions:
            controls.act(action)
        if controls.follow() or actions:
            page.keep("controls", controls.state)
        if controls.paused or not page.watched:
            time.sleep(IDLE_S)
            continue
        playing.step()
        passed_s += env.control_dt
        snapshots.append(stage.snapshot(env.num_envs))
        if len(snapshots) == every:
            if snapshots[0].size:
                page.send("clip", clip(stage, snapshots, every * env.control_dt))
            snapshots = []
        if passed_s - numbers_s >= NUMBERS_S:
            numbers_s = passed_s
            _numbers(playing, page, curves, passed_s)
        wait_until(passed_s)


def _numbers(playing: Playing, page: LiveServer, curves: Curves, passed_s: float) -> None:
    values: Dict[str, float] = {f"overlay/{key}": float(value[0]) for key, value in playing.values.items()
                                if value.size == 1}
    curves.add(round(passed_s, 2), {**values, "reward": playing.step_reward})
    lines = [line.split("  ", 1) for line in playing.lines()]
    terms = [[key[len(TERM):], number(value)] for key, value in playing.terms.items()]
    page.keep("status", lambda: {"numbers": [line for line in lines if len(line) == 2], "terms": terms})
    page.keep("curves", curves.content)
