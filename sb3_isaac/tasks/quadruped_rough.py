"""A legged robot goes where it is told over stairs, slopes, obstacles, stones and gaps, with or without seeing them."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Sequence

from sb3_isaac.contract.errors import truth
from sb3_isaac.contract.mirror import Mirror
from sb3_isaac.contract.tensor_env import Display, Panel, Shown, StopRule
from sb3_isaac.tasks.parts import gait
from sb3_isaac.tasks.parts.command import Axis
from sb3_isaac.tasks.parts.ground import SCAN_AHEAD_M, SCAN_LEFT_M
from sb3_isaac.tasks.parts.mirror import Kind
from sb3_isaac.tasks.parts.terms import Function, Term
from sb3_isaac.tasks.quadruped_velocity import QuadrupedVelocity, still

SWING_HEIGHT_M = 0.1
SHOWN_LEVEL = 4
"""Of a demonstration: steps of 10 cm."""
_ROWS, _LEFT = len(SCAN_AHEAD_M), len(SCAN_LEFT_M)
SCAN_MIRROR = Mirror(tuple(row * _LEFT + _LEFT - 1 - i for row in range(_ROWS) for i in range(_LEFT)),
                     (1,) * (_ROWS * _LEFT))
"""In a mirror the points on the left are those on the right."""
COMMANDS = tuple({"forward_m_s": forward, "left_m_s": left, "yaw_rad_s": turn, "heading_rad": turn}
                 for forward, left, turn in ((1.0, 0.0, 0.0), (0.5, 0.0, 0.0), (-0.7, 0.0, 0.0), (0.0, 0.4, 0.0),
                                             (0.0, -0.4, 0.0), (0.7, 0.3, 0.0), (0.7, -0.3, 0.0)))
"""Of an evaluation: seven, so that with 12 columns of terrain and 10 levels every tile has every command in turn."""


class QuadrupedRough(QuadrupedVelocity):
    """``IsaacQuadrupedRough-v0``: :class:`~sb3_isaac.tasks.quadruped_velocity.QuadrupedVelocity` on terrain, with its
    options and one more.

    The robot is blind: group ``policy`` is that of the velocity task. With ``scan=True`` it sees the ground:

    ============= ===== =================================================== ==========================
    name          width what                                                frame, unit
    ============= ===== =================================================== ==========================
    height_scan   187   ground at 17 × 11 points, up to 0.8 m ahead and     yaw frame, m
                        behind and 0.5 m to both sides, above where the
                        robot would stand on level ground, within ±1
    ============= ===== =================================================== ==========================

    With ``privileged=True`` the group ``critic`` has it in any case.

    An episode ends in a fall as in the velocity task, and as by time when the robot leaves its tile of terrain. It was
    a success when the robot left its tile, or was at least half as far from its start as it was told to go.

    :param scan: observe the height scan.
    """

    TERRAIN: Mapping[str, Any] = {}
    COMMAND: Mapping[str, Axis] = {
        "forward_m_s": Axis(-1.0, 1.0, mirror=1), "left_m_s": Axis(-0.5, 0.5, mirror=-1),
        "yaw_rad_s": Axis(-1.0, 1.0, mirror=-1)}
    COMMAND_SETTINGS = {**QuadrupedVelocity.COMMAND_SETTINGS, "stand_share": 0.05, "edge_share": 0.0,
                        "widen_at": 0.45, "widen_s": 10.0, "each_end": False, "resample_s": 10.0,
                        "first": {"forward_m_s": [0.4, 1.0], "left_m_s": [-0.1, 0.1], "yaw_rad_s": [-0.3, 0.3]}}
    EVALUATION = COMMANDS
    CONDITIONS = {**QuadrupedVelocity.CONDITIONS, "terrain": (0.0, 3.0, 6.0)}
    OBSERVATION: Mapping[str, Mapping[str, Function]] = {
        "policy": QuadrupedVelocity.OBSERVATION["policy"],
        "critic": {**QuadrupedVelocity.OBSERVATION["critic"], "height_scan": lambda f: f.height_scan},
    }
    MIRROR: Mapping[str, Kind] = {**QuadrupedVelocity.MIRROR, "height_scan": SCAN_MIRROR}
    REWARD: Mapping[str, Term] = {
        **QuadrupedVelocity.REWARD,
        # A trunk leans and rises with the ground, and legs take other poses.
        "bounce": QuadrupedVelocity.REWARD["bounce"]._replace(weight=-0.015),
        "roll_pitch_rate": QuadrupedVelocity.REWARD["roll_pitch_rate"]._replace(weight=-0.001),
        "tilt": QuadrupedVelocity.REWARD["tilt"]._replace(weight=-0.2),
        "pose": QuadrupedVelocity.REWARD["pose"]._replace(weight=-0.003),
        "swing_height": Term(-0.6, lambda f: gait.swing_height(f.foot_clearance, f.foot_vel_w, SWING_HEIGHT_M)),
        "stand": Term(1.0, still),
    }

    stop_rule = StopRule({"success_fraction": (0.9, 1.0), "falls_fraction": (0.0, 0.05)}, goal="it gets everywhere",
                         training={"rollout/command_range": (1.0, 1.0)}, early=("falls_fraction",))
    display = Display(
        progress=(*QuadrupedVelocity.display.progress, Shown("level", "curriculum/level")),
        evaluation=(Shown("success", "success_fraction", "{:.1%}"), *QuadrupedVelocity.display.evaluation[:4],
                    *QuadrupedVelocity.display.evaluation[5:]),
        panels=(Panel("curriculum/level", "mean level of terrain"),
                Panel("eval/success_fraction", "success on all levels\n(evaluation)"),
                Panel("eval/tracking_error_forward_m_s", "error of the forward velocity\n(evaluation, m/s)")),
        overlay=(*QuadrupedVelocity.display.overlay, Shown("level", "curriculum/level", "{:.0f}")),
    )

    def __init__(self, num_envs: int = 1, *, scan: bool = False, **options: Any) -> None:
        if truth("scan", scan):
            seen = {"height_scan": self.OBSERVATION["critic"]["height_scan"]}
            self.OBSERVATION = {**self.OBSERVATION, "policy": {**self.OBSERVATION["policy"], **seen}}
        super().__init__(num_envs, **options)

    @classmethod
    def evaluation_options(cls, options: Mapping[str, Any], command: Optional[Sequence[Any]] = None,
                           hold_s: Optional[float] = None) -> Dict[str, Any]:
        """See the velocity task; a demonstration is on a level where climbing is seen, unless one is given."""
        made = super().evaluation_options(options, command, hold_s)
        ground = cls._ground_of(made["terrain"])
        if command is None and hold_s is not None and ground is not None:
            made["terrain"] = {"level": min(SHOWN_LEVEL, ground.grid.levels - 1), **made["terrain"]}
        return made
