"""The viewer, on a virtual display where there is one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import os
import sys
from pathlib import Path
import numpy as np
from matplotlib.image import imread
from gymcompat_robots import WALKER, World
from sb3_isaac.gymcompat.api import gymapi

folder, destroys = Path(sys.argv[1]), os.fork() == 0  # what is imported is there for both
if not destroys:
    _, status = os.wait()
    print("destroyed", os.waitstatus_to_exitcode(status), flush=True)
world = World(folder, WALKER, n=3, height=0.5)
gym, sim = world.gym, world.sim
sim.headless = False
viewer = gym.create_viewer(sim, gymapi.CameraProperties())
gym.subscribe_viewer_keyboard_event(viewer, gymapi.KEY_V, "toggle")
gym.viewer_camera_look_at(viewer, world.envs[1], gymapi.Vec3(2, 2, 1), gymapi.Vec3(0, 0, 0.2))
for _ in range(10):
    world.step(1)
    gym.step_graphics(sim)
    gym.add_lines(viewer, world.envs[1], 1, [[0, 0, 0], [0, 0, 1]], [[1, 0, 0]])
    gym.draw_viewer(viewer, sim, True)
    gym.clear_lines(viewer)
    gym.sync_frame_time(sim)
assert not gym.query_viewer_has_closed(viewer)
viewer._pressed(ord("V"))
assert [(event.action, event.value) for event in gym.query_viewer_action_events(viewer)] == [("toggle", 1.0)]
assert gym.query_viewer_action_events(viewer) == []
assert np.allclose(viewer.data.qpos[:3], world.root[1, :3])
gym.write_viewer_image_to_file(viewer, str(folder / "view.png"))
assert imread(folder / "view.png")[..., :3].std() > 0.02
if destroys:
    gym.destroy_sim(sim)
print("seen", flush=True)
"""


@pytest.mark.skipif(shutil.which("xvfb-run") is None, reason="needs a virtual display (xvfb)")
def test_the_viewer_shows_an_environment_reports_keys_and_saves_pictures(tmp_path: Path) -> None:
    """And the program ends in peace, whether it destroys the simulation or forgets to, as legged_gym does."""
    command = ["xvfb-run", "-a", sys.executable, "-c", CODE, str(tmp_path)]
    out = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent, timeout=120)
    assert out.stdout.split("\n") == ["seen", "destroyed 0", "seen", ""] and out.returncode == 0, out.stderr
