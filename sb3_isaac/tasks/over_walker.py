"""What tasks above a walking one share: a decision is a command, which a frozen policy walks by for a part of a second.

A file of its own beside the tasks: it makes a task by its id, and the parts know no tasks.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Sequence, Tuple, Type

import numpy as np
import torch
from gymnasium import spaces

from sb3_isaac.contract.errors import UserError, mapping, number_above_zero, unknown
from sb3_isaac.contract.ids import TASKS
from sb3_isaac.contract.mirror import Mirror
from sb3_isaac.contract.tensor_env import Obs, constructor_parameters
from sb3_isaac.policy.formats import load_policy
from sb3_isaac.policy.module import PolicyModule
from sb3_isaac.tasks import task_class
from sb3_isaac.tasks.parts.command import Commands
from sb3_isaac.tasks.parts.episode import EpisodicTask
from sb3_isaac.tasks.parts.features import LeggedFeatures
from sb3_isaac.tasks.parts.legged import LeggedTask
from sb3_isaac.tasks.parts.mirror import command_mirror
from sb3_isaac.tasks.parts.randomize import whole_ranges

_OURS = ("num_envs", "reward", "command", "termination", "limits", "terrain", "privileged", "episode_length_s",
         "stagger", "render_mode", "seed")
"""Options of the walking task that the task above it settles."""


class OverWalker(EpisodicTask):
    """N robots that a frozen policy walks where this task's actions tell it.

    Action (C,) in [−1, 1]: for each axis of the walking task's command its range, from lowest to highest. A subclass
    calls :meth:`stand_on` in its constructor, and writes its tables over features that have ``robot``, the
    :class:`~sb3_isaac.tasks.parts.features.LeggedFeatures` of the walking task.

    The robot falls where the walking task would have ended the episode, looked at after each decision.
    """

    SOFT_OPTIONS = ("reward",)
    walking: LeggedTask
    walker: PolicyModule
    _STATE: Tuple[str, ...] = ("told", "last_told")

    def stand_on(self, walker: str, num_envs: int, *, decision_s: float, walker_options: Any = None,
                 seed: Optional[int], episode_length_s: float, stagger: bool, render_mode: Optional[str],
                 **simulation: Any) -> None:
        """What the constructor does first.

        :param walker: the file or run folder of the frozen policy.
        :param decision_s: seconds between two actions, to the nearest control step of the walking task.
        :param walker_options: options of the walking task in place of those that the policy was trained with.
        :param simulation: ``sim device threads`` of the walking task; None leaves one to its default.
        :raises UserError: where there is no such policy, or it is not of a walking task.
        """
        if not isinstance(walker, str) or not walker:
            raise UserError(f"walker is {walker!r}: give the run folder or policy.pth of a trained walking task.")
        self.walker = load_policy(walker)
        given = {**mapping("walker_options", walker_options),
                 **{name: value for name, value in simulation.items() if value is not None}}
        self.walking = _walking_task(self.walker, num_envs, given, render_mode)
        self.walking.measured = ()  # nobody reads its log
        self.every = max(1, round(number_above_zero("decision_s", decision_s, most=60.0) / self.walking.control_dt))
        self.control_dt = self.every * self.walking.control_dt
        self.walker.to(self.walking.device)
        self.setup(num_envs, self.walking.device, seed=seed, episode_length_s=episode_length_s, stagger=stagger,
                   render_mode=render_mode)
        ranges = self.walking.metadata()["command"].values()
        self._low, self._high = torch.tensor(list(ranges), device=self.device).unbind(dim=1)
        self.told, self.last_told = self.zeros(len(ranges)), self.zeros(len(ranges))
        """Actions (N, C) in [−1, 1], as applied, and those of the decision before."""
        self.action_space = spaces.Box(-1.0, 1.0, (len(ranges),), np.float32)

    def fallen(self, robot: LeggedFeatures) -> torch.Tensor:
        """Which robots the walking task calls fallen, (N,) bool."""
        ends = [fallen(robot) for fallen in type(self.walking).TERMINATION.values()]
        return torch.stack(ends).any(dim=0)

    def act(self, actions: torch.Tensor) -> torch.Tensor:
        """See :meth:`EpisodicTask.act`."""
        self.last_told.copy_(self.told)
        self.told.copy_(actions).clamp_(-1.0, 1.0)
        obs = self.walking.tell_now(self._low + 0.5 * (self.told + 1.0) * (self._high - self._low))
        diverged = torch.zeros(self.num_envs, dtype=torch.bool, device=self.device)
        for _ in range(self.every):
            step = self.walking.step(self.walker(obs["policy"]))
            obs = step.obs
            diverged |= step.terminated  # falls do not end the walking task's episodes here
        return diverged

    def place(self, mask: torch.Tensor) -> None:
        """See :meth:`EpisodicTask.place`; a subclass adds what its episode is about."""
        self.walking.restart(mask)
        for told in (self.told, self.last_told):
            told.masked_fill_(mask[:, None], 0.0)

    def reset(self, seed: Optional[int] = None) -> Obs:
        """See :meth:`TensorEnv.reset`."""
        self.walking.reset(seed)
        return super().reset(seed)

    def mirror_kinds(self) -> Dict[str, Mirror]:
        """See :meth:`EpisodicTask.mirror_kinds`."""
        return {"action": command_mirror(self.walking.axes)}

    @property
    def physics_s(self) -> float:  # type: ignore[override]
        """See :class:`TensorEnv`."""
        return self.walking.physics_s

    def warnings(self) -> Dict[str, int]:
        """See :meth:`TensorEnv.warnings`."""
        return self.walking.warnings()

    def metadata(self) -> Dict[str, Any]:
        """See :meth:`TensorEnv.metadata`."""
        return {"obs_table": dict(self.obs_table), "control_dt": self.control_dt,
                "action": self.walking.metadata()["command"]}

    def marks(self, robot: int) -> Sequence[Tuple[str, Sequence[float], Sequence[float], Sequence[float]]]:
        """What stands around a robot in pictures, see :data:`~sb3_isaac.engine.renderer.Mark`."""
        return ()

    def render(self, width: int = 640, height: int = 480, robots: int = 1, lines: Tuple[str, ...] = (),
               robot: int = 0) -> Optional[np.ndarray]:
        """See :meth:`TensorEnv.render`."""
        return self.walking.render(width, height, robots, lines, robot, marks=self.marks)

    def viewer(self) -> Any:
        """See :meth:`TensorEnv.viewer`."""
        return self.walking.viewer()

    def state_dict(self) -> Dict[str, Any]:
        """See :meth:`TensorEnv.state_dict`."""
        return {**super().state_dict(), "walking": self.walking.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See :meth:`TensorEnv.load_state_dict`."""
        self.walking.load_state_dict(state["walking"])
        super().load_state_dict(state)

    def close(self) -> None:
        """See :meth:`TensorEnv.close`."""
        self.walking.close()


def _walking_task(walker: PolicyModule, num_envs: int, given: Mapping[str, Any],
                  render_mode: Optional[str]) -> LeggedTask:
    """The task that `walker` was trained on, on a plane, without its rewards, and told nothing by itself."""
    env = str(walker.info.get("env"))
    if env not in TASKS or not issubclass(task_class(env), LeggedTask):
        raise UserError(f"the walker was trained on {env}: give a policy of a walking task, such as "
                        "IsaacQuadrupedVelocity-v0.")
    trained_on: Type[LeggedTask] = task_class(env)  # type: ignore[assignment]
    # One that learnt on rough ground walks on a plane as the task that its own is derived from.
    cls = next(parent for parent in trained_on.__mro__ if issubclass(parent, LeggedTask) and parent.TERRAIN is None)
    taken = [name for name in constructor_parameters(cls) if name not in _OURS]
    for name in given:
        if name not in taken:
            raise unknown("walker option", name, taken, where=env)
    trained = walker.info.get("env_kwargs", {})
    options = {**{name: value for name, value in trained.items() if name in taken}, **given}
    if "heading" in taken:
        options["heading"] = False  # told as a yaw rate in any case
    if options.get("randomize"):
        options["randomize"] = whole_ranges(options["randomize"])
    ranges = {name: value for name, value in (trained.get("command") or {}).items() if name not in Commands.SETTINGS}
    task = cls(num_envs, **options, reward=dict.fromkeys(cls.REWARD, 0.0), termination=dict.fromkeys(cls.TERMINATION),
               command={**ranges, "resample_s": 1e6, "random_times": False, "first": {}, "zero_share": 0.0,
                        "stand_share": 0.0},
               episode_length_s=86_400.0, stagger=False, render_mode=render_mode)
    theirs, ours = walker.info.get("obs_table"), task.metadata()["obs_table"]
    if theirs != ours or walker.low.shape != task.action_space.shape:
        task.close()
        raise UserError(f"the walker sees {theirs} and moves {walker.low.numel()} joints, and {cls.__name__} shows "
                        f"{ours} and has {task.action_space.shape}: give walker_options that it was trained with.")
    return task
