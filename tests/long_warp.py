"""MuJoCo Warp beside the CPU engine: the engine protocol's suite, states and forces, resets, overflow.

    python -m pytest tests/long_warp.py

Warp's CPU device runs the same kernels and graphs as a GPU. The first run compiles them, which takes minutes; they are
kept in ~/.cache/warp.
"""

from __future__ import annotations

import pytest

pytest.importorskip("mujoco_warp", reason="MuJoCo Warp is not installed: pip install 'sb3_isaac[warp]'")
from test_engine_protocol import *  # noqa: F403 - the suite, with the fixture below
from test_engine_protocol import Case

from sb3_isaac.engine.warp import WarpEngine


@pytest.fixture
def case() -> Case:
    return Case(lambda model, n, threads: WarpEngine(model, n, threads, device="cpu"), 1e-5, exact=True)
