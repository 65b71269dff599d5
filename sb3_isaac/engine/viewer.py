"""A window on one simulated world: MuJoCo's passive viewer."""

from __future__ import annotations

from typing import Any, Sequence

import mujoco
import mujoco.viewer

from sb3_isaac.contract.errors import UserError
from sb3_isaac.engine.renderer import has_display


class WorldViewer:
    """Shows world 0 of an engine until its window is closed.

    :param engine: what simulates.
    :param model: the same robots with what is only looked at.
    :raises UserError: where no window can open.
    """

    def __init__(self, engine: Any, model: mujoco.MjModel) -> None:
        _require_display()
        self._engine, self._model = engine, model
        self._data = mujoco.MjData(model)
        self._data.qpos[:] = engine.mj_data(0).qpos
        mujoco.mj_forward(model, self._data)
        try:
            self._window = mujoco.viewer.launch_passive(self._model, self._data, show_left_ui=False,
                                                        show_right_ui=False)
        except RuntimeError as error:
            raise UserError(f"MuJoCo's viewer does not open ({error}): pass --video out.mp4 to write a video.") \
                from error
        camera = self._window.cam
        camera.type, camera.trackbodyid = mujoco.mjtCamera.mjCAMERA_TRACKING, 1
        camera.distance, camera.azimuth, camera.elevation = 3.0 * self._model.stat.extent, 150.0, -14.0

    def is_running(self) -> bool:
        """Whether the window is open."""
        return bool(self._window.is_running())

    def sync(self, lines: Sequence[str] = ()) -> None:
        """Show the world as it is now, with `lines` of text."""
        with self._window.lock():
            self._data.qpos[:] = self._engine.mj_data(0).qpos
            mujoco.mj_forward(self._model, self._data)
        self._window.set_texts((None, None, "\n".join(lines), None))
        self._window.sync()

    def close(self) -> None:
        """Close the window."""
        self._window.close()


def _require_display() -> None:
    """Complain where no window can open; MuJoCo's viewer waits for one for ever."""
    import glfw

    if not has_display() or not glfw.init():
        raise UserError("there is no display to open a window on: pass --video out.mp4 or --picture out.png.")
