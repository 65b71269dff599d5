"""Gym's calls about the viewer: MuJoCo's own window, which shows one environment."""

from __future__ import annotations

from typing import Any, List, Optional

import numpy as np

from sb3_isaac.gymcompat.api.gym_assets import checked
from sb3_isaac.gymcompat.model.actors import Env
from sb3_isaac.gymcompat.runtime.sim import Sim
from sb3_isaac.gymcompat.runtime.viewer import Viewer
from sb3_isaac.gymcompat.types.structs import ActionEvent, CameraProperties
from sb3_isaac.gymcompat.types.values import Vec3


class ViewerCalls:
    """A window to look and to press keys."""

    def create_viewer(self, sim: Sim, props: CameraProperties) -> Optional[Viewer]:
        """A window on environment 0, or None for a headless simulation."""
        if checked("create_viewer", "sim", sim, Sim).headless:
            return None
        sim.viewer = Viewer(sim)
        return sim.viewer

    def destroy_viewer(self, viewer: Any) -> None:
        """Close the window."""
        checked("destroy_viewer", "viewer", viewer, Viewer).close()

    def subscribe_viewer_keyboard_event(self, viewer: Viewer, key: int, action: str) -> None:
        """Report a key as `action`."""
        checked("subscribe_viewer_keyboard_event", "viewer", viewer, Viewer).subscribe(int(key), str(action))

    def query_viewer_action_events(self, viewer: Viewer) -> List[ActionEvent]:
        """The subscribed keys pressed since the last call."""
        return viewer.take_events()

    def query_viewer_has_closed(self, viewer: Viewer) -> bool:
        """Whether the user closed the window."""
        return viewer.is_closed()

    def viewer_camera_look_at(self, viewer: Viewer, env: Optional[Env], position: Vec3, target: Vec3) -> None:
        """Move the camera; an `env` also chooses which one is shown."""
        checked("viewer_camera_look_at", "viewer", viewer, Viewer).look_at(env, position, target)

    def step_graphics(self, sim: Sim) -> None:
        """Fetch the state that the next ``draw_viewer`` shows."""
        if sim.viewer is not None:
            checked("step_graphics", "viewer", sim.viewer, Viewer).fetch()

    def draw_viewer(self, viewer: Viewer, sim: Sim, render_collision: bool = False) -> None:
        """Show it."""
        checked("draw_viewer", "viewer", viewer, Viewer).draw()

    def write_viewer_image_to_file(self, viewer: Viewer, filename: str) -> None:
        """Save what the camera of the window sees, as PNG."""
        checked("write_viewer_image_to_file", "viewer", viewer, Viewer).save(str(filename))

    def poll_viewer_events(self, viewer: Viewer) -> None:
        """Keys arrive by themselves."""

    def sync_frame_time(self, sim: Sim) -> None:
        """Wait until the wall clock has caught up with the simulated time."""
        if sim.viewer is not None:
            checked("sync_frame_time", "viewer", sim.viewer, Viewer).wait()

    def clear_lines(self, viewer: Viewer) -> None:
        """Remove all lines."""
        checked("clear_lines", "viewer", viewer, Viewer).lines.clear()

    def add_lines(self, viewer: Viewer, env: Optional[Env], count: int, vertices: Any, colors: Any) -> None:
        """Draw `count` lines: vertices (count, 2, 3) m, colors (count, 3) in [0, 1]; those of the shown env appear."""
        checked("add_lines", "viewer", viewer, Viewer).add_lines(env, int(count), plain(vertices), plain(colors))


def plain(values: Any) -> np.ndarray:
    """Numbers as float32 (k, 3), from a plain array or one of ``Vec3.dtype``."""
    array = np.asarray(values)
    if array.dtype.names:
        array = np.stack([array[name] for name in array.dtype.names], axis=-1)
    return array.astype(np.float32).reshape(-1, 3)
