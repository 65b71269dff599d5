"""A task of robots on a simulator: how the simulator is made, drawn, saved and closed, and how its robot mirrors."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Tuple, Union

import numpy as np

from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.mirror import Mirror
from sb3_isaac.robots import Robot, get_robot
from sb3_isaac.sim import Simulator, make_simulator
from sb3_isaac.tasks.parts.episode import EpisodicTask
from sb3_isaac.tasks.parts.mirror_check import check_robot_mirror
from sb3_isaac.terrain.heightfield import Heightfield


class RobotTask(EpisodicTask):
    """N robots of one kind on a :class:`~sb3_isaac.sim.Simulator`."""

    ROBOT: Union[str, Robot] = "quadruped"
    """The task's own robot."""
    DRIVE = "position"
    """What has to drive the joints, as ``Robot.drive``."""
    PHYSICS_DT, SUBSTEPS = 0.01, 2
    """Seconds of a physics step, and how many of them a control step takes, unless others are given."""

    def set_simulator(self, sim: Union[str, Simulator], num_envs: int, *, robot: Any = None, device: str = "auto",
                      physics_dt: Optional[float] = None, substeps: Optional[int] = None,
                      threads: Optional[int] = None, nconmax: Optional[int] = None, njmax: Optional[int] = None,
                      cuda_graphs: Optional[bool] = None, ground: Optional[Heightfield] = None) -> None:
        """The first part of a constructor: ``sim robot control_dt``, of a simulator that is made or given."""
        if isinstance(sim, str):
            sim = make_simulator(sim, get_robot(self.ROBOT if robot is None else robot), num_envs, device=device,
                                 physics_dt=self.PHYSICS_DT if physics_dt is None else physics_dt,
                                 substeps=self.SUBSTEPS if substeps is None else substeps, threads=threads,
                                 nconmax=nconmax, njmax=njmax, ground=ground,
                                 cuda_graphs=True if cuda_graphs is None else cuda_graphs)
        else:
            _check_instance(sim, num_envs, robot=robot, physics_dt=physics_dt, substeps=substeps, threads=threads,
                            nconmax=nconmax, njmax=njmax, terrain=ground, device=None if device == "auto" else device,
                            cuda_graphs=cuda_graphs)
        if sim.robot.drive != self.DRIVE:
            raise UserError(f"robot {sim.robot.name!r} has {sim.robot.drive} drives and {type(self).__name__} is for "
                            f"{self.DRIVE} drives: give a robot with drive={self.DRIVE!r}.")
        self.sim, self.robot, self.control_dt = sim, sim.robot, sim.control_dt
        self.recorder = getattr(sim, "recorder", None)  # one's own Simulator need not have it
        self._renderers: Dict[Tuple[int, int, int], Any] = {}

    def mirror_kinds(self) -> Dict[str, Mirror]:
        """See :meth:`EpisodicTask.mirror_kinds`: ``joints`` and ``feet``, by the robot's model, and tried out."""
        from sb3_isaac.robots.mirror import robot_mirror  # needs MuJoCo, whatever the simulator is

        joints, feet = robot_mirror(self.robot)
        check_robot_mirror(self.robot, joints)
        return {"joints": joints, "feet": feet, "action": joints,
                "partners": Mirror(joints.source, (1,) * len(joints.source))}

    @property
    def physics_s(self) -> float:  # type: ignore[override]
        """See :class:`TensorEnv`."""
        return self.sim.physics_s

    def warnings(self) -> Dict[str, int]:
        """See :meth:`TensorEnv.warnings`."""
        return self.sim.warnings()

    def render(self, width: int = 640, height: int = 480, robots: int = 1,
               lines: Tuple[str, ...] = (), robot: int = 0, marks: Any = None) -> Optional[np.ndarray]:
        """See :meth:`TensorEnv.render`; for `marks` :class:`~sb3_isaac.engine.renderer.SceneRenderer`."""
        if self.render_mode is None:
            return None
        size = (width, height, robots)
        if size not in self._renderers:
            self._renderers[size] = self.sim.make_renderer(width=width, height=height, num_robots=robots)
        image: np.ndarray = self._renderers[size].frame(lines, follow=robot, marks=marks)
        return image

    def viewer(self) -> Any:
        """See :meth:`TensorEnv.viewer`."""
        return self.sim.make_viewer()

    def state_dict(self) -> Dict[str, Any]:
        """See :meth:`TensorEnv.state_dict`."""
        return {**super().state_dict(), "sim": self.sim.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See :meth:`TensorEnv.load_state_dict`."""
        self.sim.load_state_dict(state["sim"])
        super().load_state_dict(state)

    def close(self) -> None:
        """See :meth:`TensorEnv.close`."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()
        self.sim.close()


def _check_instance(sim: Any, num_envs: int, **given: Any) -> None:
    """Raise a UserError where `sim` is no Simulator, and where it brings itself what was `given` besides."""
    if not hasattr(sim, "control_dt"):
        raise UserError(f"sim is {sim!r}: give the name of a simulator, or a Simulator.")
    besides = [name for name, value in given.items() if value is not None]
    if num_envs not in (1, sim.num_envs):
        besides.append("num_envs")
    if besides:
        raise UserError(f"sim is a {type(sim).__name__} of {sim.num_envs} robots, which brings its own "
                        f"{', '.join(besides)}: leave {'it' if len(besides) == 1 else 'them'} out, or give the name of "
                        "a simulator.")
