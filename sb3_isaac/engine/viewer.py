"""A window on one simulated world: MuJoCo's passive viewer."""

from __future__ import annotations

import atexit
import queue
import threading
from typing import Any, List, Sequence

import mujoco
import mujoco.viewer

from sb3_isaac.contract.errors import UserError
from sb3_isaac.engine.gl import has_display

KEYS = {32: "Space", 257: "Enter", 262: "Right", 263: "Left", 264: "Down", 265: "Up", 266: "PageUp", 267: "PageDown",
        269: "End", 335: "Enter"}
"""GLFW's numbers of the keys that are no character."""

CLOSING_S = 10.0
"""How long a window may take to close."""


class WorldViewer:
    """Shows one world of an engine at a time until its window is closed.

    :param engine: what simulates.
    :param model: the same robots with what is only looked at.
    :raises UserError: where no window can open.
    """

    def __init__(self, engine: Any, model: mujoco.MjModel) -> None:
        _require_display()
        self._engine, self._model = engine, model
        self._keys: "queue.SimpleQueue[str]" = queue.SimpleQueue()
        self._data = mujoco.MjData(model)
        self._data.qpos[:] = engine.mj_data(0).qpos
        mujoco.mj_forward(model, self._data)
        before = set(threading.enumerate())
        try:
            self._window = mujoco.viewer.launch_passive(self._model, self._data, show_left_ui=False,
                                                        show_right_ui=False, key_callback=self._press)
        except RuntimeError as error:
            raise UserError(f"MuJoCo's viewer does not open ({error}): pass --video out.mp4 to write a video.") \
                from error
        self._threads = [thread for thread in threading.enumerate() if thread not in before]
        """What draws, where MuJoCo has a thread of its own for that."""
        atexit.register(self.close)  # also where a program forgets it
        camera = self._window.cam
        camera.type, camera.trackbodyid = mujoco.mjtCamera.mjCAMERA_TRACKING, 1
        camera.distance, camera.azimuth, camera.elevation = 3.0 * self._model.stat.extent, 150.0, -14.0

    def is_running(self) -> bool:
        """Whether the window is open."""
        return bool(self._window.is_running())

    def _press(self, key: int) -> None:
        """Called in the window's thread."""
        self._keys.put(KEYS.get(key) or (chr(key) if 32 < key < 127 else ""))

    def pressed(self) -> List[str]:
        """The names of the keys that were pressed since this was asked last."""
        return [self._keys.get() for _ in range(self._keys.qsize())]

    def sync(self, lines: Sequence[str] = (), robot: int = 0) -> None:
        """Show the world of this index as it is now, with `lines` of text."""
        with self._window.lock():
            self._data.qpos[:] = self._engine.live("qpos")[robot].cpu().numpy()
            mujoco.mj_forward(self._model, self._data)
        self._window.set_texts((None, None, "\n".join(lines), None))
        self._window.sync()

    def close(self) -> None:
        """Close the window, and wait until nothing draws any more: a program that ended before would crash."""
        atexit.unregister(self.close)
        self._window.close()
        for thread in self._threads:
            thread.join(CLOSING_S)


def _require_display() -> None:
    """Complain where no window can open; MuJoCo's viewer waits for one for ever."""
    import glfw

    if not has_display() or not glfw.init():
        raise UserError("there is no display to open a window on: pass --video out.mp4 or --picture out.png.")
