"""A window on one environment: MuJoCo's passive viewer behind Isaac Gym's calls."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from typing import Dict, List, Optional, Tuple

import mujoco
import numpy as np

from sb3_isaac.contract.errors import UserError
from sb3_isaac.gymcompat.model.actors import Env
from sb3_isaac.gymcompat.runtime.sim import Sim
from sb3_isaac.gymcompat.types.enums import KeyboardInput
from sb3_isaac.gymcompat.types.structs import ActionEvent
from sb3_isaac.gymcompat.types.values import Vec3

_PICTURE = (480, 640)
"""Height and width of saved pictures: MuJoCo's offscreen buffer holds no more unless a model asks for it."""
_GLFW_NAMED = {"KEY_SPACE": 32, "KEY_APOSTROPHE": 39, "KEY_COMMA": 44, "KEY_MINUS": 45, "KEY_PERIOD": 46,
               "KEY_SLASH": 47, "KEY_SEMICOLON": 59, "KEY_EQUAL": 61, "KEY_LEFT_BRACKET": 91, "KEY_BACKSLASH": 92,
               "KEY_RIGHT_BRACKET": 93, "KEY_ESCAPE": 256, "KEY_ENTER": 257, "KEY_TAB": 258, "KEY_BACKSPACE": 259,
               "KEY_INSERT": 260, "KEY_DEL": 261, "KEY_RIGHT": 262, "KEY_LEFT": 263, "KEY_DOWN": 264, "KEY_UP": 265}


def glfw_key(key: int) -> int:
    """GLFW's code of one of Isaac Gym's keys: letters and digits are their characters."""
    name = KeyboardInput(key).name
    last = name[len("KEY_"):]
    if len(last) == 1:
        return ord(last)
    if name not in _GLFW_NAMED:
        raise NotImplementedError(f"subscribe_viewer_keyboard_event: {name} is not reported here: subscribe a letter, "
                                  "a digit, an arrow or ESCAPE.")
    return _GLFW_NAMED[name]


class Viewer:
    """Shows environment 0 until ``look_at`` chooses another."""

    def __init__(self, sim: Sim) -> None:
        if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise UserError("create_viewer: this machine has no display: run the program with --headless.")
        import mujoco.viewer  # here, because it needs GLFW

        self.sim, self.env = sim, 0
        self.group, self._world = sim.running("create_viewer").at(sim.envs[0])
        self.model, self.data = self.group.engine.model, self.group.engine.mj_data(0)
        self.lines: List[Tuple[int, np.ndarray, np.ndarray]] = []
        self._actions: Dict[int, str] = {}
        self._events: List[ActionEvent] = []
        self._start_s = time.perf_counter() - sim.frames * sim.params.dt
        self._paint()
        before = set(threading.enumerate())
        self._window = mujoco.viewer.launch_passive(self.model, self.data, key_callback=self._pressed,
                                                    show_left_ui=False, show_right_ui=False)
        self._threads = set(threading.enumerate()) - before
        atexit.register(self.close)  # a window that outlives the program crashes it at its end

    def _paint(self) -> None:
        bodies = iter(self.group.scene.bodies)
        for actor in self.sim.envs[0].actors:
            for i, body in enumerate([next(bodies) for _ in actor.asset.body_names]):
                if i in actor.colors:
                    self.model.geom_rgba[self.model.geom_bodyid == body, :3] = actor.colors[i]

    def _pressed(self, code: int) -> None:
        if code in self._actions:
            event = ActionEvent()
            event.action, event.value = self._actions[code], 1.0
            self._events.append(event)

    def subscribe(self, key: int, action: str) -> None:
        """Report a key as `action`."""
        self._actions[glfw_key(key)] = action

    def take_events(self) -> List[ActionEvent]:
        """Those since the last call."""
        events, self._events = self._events, []
        return events

    def is_closed(self) -> bool:
        """Whether the window is gone."""
        return not self._window.is_running()

    def look_at(self, env: Optional[Env], position: Vec3, target: Vec3) -> None:
        """Point the camera from `position` to `target`, m."""
        if env is not None and env.index in self.group.rows:  # those of other actors have another model
            self.env, self._world = env.index, self.group.rows[env.index]
        towards = target - position
        camera = self._window.cam
        camera.lookat[:] = list(target)
        camera.distance = towards.length()
        camera.azimuth = np.degrees(np.arctan2(towards.y, towards.x))
        camera.elevation = np.degrees(np.arctan2(towards.z, np.hypot(towards.x, towards.y)))

    def fetch(self) -> None:
        """Take over the state of the shown environment."""
        with self._window.lock():
            self.data.qpos[:] = self.group.engine.live("qpos")[self._world].numpy()
            mujoco.mj_kinematics(self.model, self.data)

    def draw(self) -> None:
        """Show state and lines."""
        with self._window.lock():
            scene = self._window.user_scn
            scene.ngeom = 0
            for env, ends, color in self.lines:
                if env == self.env and scene.ngeom < scene.maxgeom:
                    geom = scene.geoms[scene.ngeom]
                    mujoco.mjv_initGeom(geom, mujoco.mjtGeom.mjGEOM_LINE, np.zeros(3), np.zeros(3), np.eye(3).ravel(),
                                        np.append(color, 1.0).astype(np.float32))
                    mujoco.mjv_connector(geom, mujoco.mjtGeom.mjGEOM_LINE, 2.0, *ends.astype(float))
                    scene.ngeom += 1
        self._window.sync()

    def save(self, filename: str) -> None:
        """Draw the scene once more, offscreen, and save it. matplotlib writes the PNG, for it is there anyway."""
        from matplotlib.image import imsave

        with mujoco.Renderer(self.model, *_PICTURE) as renderer:
            renderer.update_scene(self.data, camera=self._window.cam)
            imsave(filename, renderer.render())

    def wait(self) -> None:
        """Until the wall clock has caught up with the simulated time."""
        ahead_s = self._start_s + self.sim.frames * self.sim.params.dt - time.perf_counter()
        if ahead_s > 0:
            time.sleep(ahead_s)
        else:
            self._start_s -= ahead_s  # a slow simulation does not hurry later

    def add_lines(self, env: Optional[Env], count: int, vertices: np.ndarray, colors: np.ndarray) -> None:
        """Keep lines until they are cleared."""
        index = env.index if env is not None else self.env
        self.lines += [(index, vertices[2 * i:2 * i + 2], colors[i]) for i in range(count)]

    def close(self) -> None:
        """Close the window."""
        atexit.unregister(self.close)
        self._window.close()
        for thread in self._threads:
            thread.join(timeout=10.0)
        self.sim.viewer = None
