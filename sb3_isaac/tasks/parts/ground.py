"""Robots on terrain: which tile each is on, and the levels that it goes up and down as it learns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Mapping, Optional, Tuple

import torch

from sb3_isaac.contract.episodes import Episodes
from sb3_isaac.contract.errors import UserError, brief, mapping, truth, unknown, whole_number
from sb3_isaac.terrain.grid import TerrainGrid, terrain_grid
from sb3_isaac.terrain.height_map import HeightMap, scan_points

if TYPE_CHECKING:
    from sb3_isaac.tasks.parts.features import LeggedFeatures

SCAN_AHEAD_M, SCAN_LEFT_M = [round(0.1 * i, 1) for i in range(-8, 9)], [round(0.1 * i, 1) for i in range(-5, 6)]
"""Where heights are scanned, ahead and to the left of the trunk: 17 × 11 points."""
LEAST_TOLD_M = 1.0
"""Robots that were told to go less far than this do not go down a level for staying."""
SETTINGS: Mapping[str, Any] = {"curriculum": True, "start_level": 2, "level": None}


class Ground:
    """The terrain of N robots. Robot i stays in column ``i % columns``; its level is the task's.

    ============ ================================================================================================
    setting      what, besides the fields of :class:`~sb3_isaac.terrain.grid.TerrainGrid`
    ============ ================================================================================================
    curriculum   robots go up a level when they leave their tile on foot, and down when they do not get on; without
                 it they are spread evenly over all levels, and stay there
    start_level  with the curriculum: robots begin spread evenly over the levels from 0 to this one
    level        all robots are on this level, and stay there; ``{each: [0, 5]}``: on these levels by turns, and on all
                 columns alike on each of them
    ============ ================================================================================================

    :param given: settings and fields in place of their defaults.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        given = mapping("terrain", given)
        known = (*SETTINGS, *TerrainGrid.__dataclass_fields__)
        for name in given:
            if name not in known:
                raise unknown("terrain option", name, known)
        settings = {**SETTINGS, **{name: value for name, value in given.items() if name in SETTINGS}}
        self.grid = terrain_grid({name: value for name, value in given.items() if name not in SETTINGS})
        self.kinds = tuple(dict.fromkeys(self.grid.columns))
        """Of terrain, in the order of their columns."""
        top = self.grid.levels - 1
        self._each, self._level = _levels(settings["level"], top)
        self.curriculum = truth("terrain curriculum", settings["curriculum"]) and not self._level
        told = self.curriculum and "start_level" in given  # else it is the usual one, whatever the number of levels
        start = whole_number("terrain start_level", settings["start_level"], 0, *([top] if told else []))
        self._spread = min(start, top) + 1 if self.curriculum else self.grid.levels

    def settle(self, num_envs: int, device: torch.device) -> None:
        """Give each of N robots its column; once, before all else."""
        grid = self.grid
        self._robot = torch.arange(num_envs, device=device)
        self.column = self._robot % len(grid.columns)
        if self._each:  # robots of one level are beside each other in all columns, as far as there are enough of them
            turns = max(num_envs // len(self._level), 1)
            self.column = self._robot // len(self._level) * len(grid.columns) // turns % len(grid.columns)
        self.heights = HeightMap(grid.ground, device)
        self.scan_points = scan_points(SCAN_AHEAD_M, SCAN_LEFT_M, device)
        self.half_tile_m = 0.5 * grid.tile_m
        self._origins = torch.from_numpy(grid.origins).to(device, torch.float32)
        kind_of_column = torch.tensor([self.kinds.index(name) for name in grid.columns], device=device)
        self.kind = kind_of_column[self.column]
        """Which of ``kinds`` each robot is on, (N,)."""
        on = torch.arange(len(self.kinds), device=device)[:, None] == self.kind
        self._share = on * (num_envs / on.sum(dim=1, keepdim=True).clamp(min=1))

    def check_size(self, reach_m: float) -> None:
        """Raise a UserError where a tile has no room for a robot whose feet are up to `reach_m` from its middle."""
        if self.half_tile_m < 2.0 * reach_m:
            raise UserError(f"terrain tile_m is {self.grid.tile_m:g} and the robot's feet are {2.0 * reach_m:.2f} m "
                            f"apart: give a tile of at least {4.0 * reach_m:.1f} m.")

    def first_level(self) -> torch.Tensor:
        """The levels (N,) that training, or an evaluation, begins with."""
        if self._level:
            return torch.tensor(self._level, device=self._robot.device)[self._robot % len(self._level)]
        return (self._robot // len(self.grid.columns)) % self._spread

    def origin(self, level: torch.Tensor) -> torch.Tensor:
        """Where robots on these levels (N,) start, (N, 3) m: on the ground in the middle of their tiles."""
        return self._origins[level, self.column]

    def next_level(self, f: "LeggedFeatures", level: torch.Tensor, over: torch.Tensor, fell: torch.Tensor,
                   generator: Optional[torch.Generator]) -> torch.Tensor:
        """The levels (N,) after this step, in which the episodes of `over` (N,) end, by a fall where `fell`.

        A robot that left its tile goes up; one that fell before, or got less than half as far as it was told, goes
        down. Who has left the highest level goes on at one that is drawn.
        """
        if not self.curriculum:
            return level
        up = over & f.left_tile
        down = over & ~f.left_tile & (fell | ~f.got_on)
        levels = self.grid.levels
        drawn = torch.randint(levels, level.shape, generator=generator, device=level.device)
        moved = (level + up.long() - down.long()).clamp(min=0)
        return torch.where(moved >= levels, drawn, moved)

    @property
    def logged(self) -> Tuple[str, ...]:
        """Measures that training logs."""
        return ("curriculum/level", *(f"curriculum/level_{name}" for name in self.kinds))

    def measures(self, f: "LeggedFeatures", level: torch.Tensor, fell: torch.Tensor) -> Dict[str, torch.Tensor]:
        """``curriculum/level`` (N,), and of each kind with values such that the mean over all robots is that of its
        own; ``is_success`` where an episode ends without a fall and by leaving the tile, or as far as it was told."""
        levels = level.float()
        values = {"curriculum/level": levels, "terrain_kind": self.kind}
        for name, share in zip(self.kinds, self._share):
            values[f"curriculum/level_{name}"] = levels * share
        return {**values, "is_success": f.timed_out & ~fell & (f.left_tile | f.got_on)}

    def report(self, episodes: Episodes) -> Dict[str, Any]:
        """Of evaluated episodes: ``success_fraction``, ``success_<kind>`` and ``success_level_<k>``, those without a
        fall that left their tile, or went at least half as far as they were told; and ``success_by_level``, a row for
        each level on which every kind has an episode: level, difficulty, and the success on each kind in the order of
        the others."""
        success = episodes.greatest("is_success")
        level, kind = (episodes.least(name).long() for name in ("curriculum/level", "terrain_kind"))
        kinds, levels = len(self.kinds), self.grid.levels
        cell = level * kinds + kind
        count = torch.bincount(cell, minlength=levels * kinds).view(levels, kinds)
        good = torch.bincount(cell, weights=success, minlength=levels * kinds).view(levels, kinds)
        shares = good / count
        report: Dict[str, Any] = {"success_fraction": float(success.mean())}
        of_kind, of_level = good.sum(dim=0) / count.sum(dim=0), good.sum(dim=1) / count.sum(dim=1)
        report.update({f"success_{name}": float(of_kind[i]) for i, name in enumerate(self.kinds) if count[:, i].any()})
        report.update({f"success_level_{i}": float(of_level[i]) for i in range(levels) if count[i].any()})
        rows = [[round(value, 4) for value in (i, self.grid.difficulties[i], *shares[i].tolist())]
                for i in range(levels) if count[i].all()]
        return {**report, "success_by_level": rows} if rows else report


def _levels(given: Any, top: int) -> Tuple[bool, Tuple[int, ...]]:
    """Whether a ``level`` is one for each robot by turns, and its levels; none for None."""
    if given is None:
        return False, ()
    each = isinstance(given, Mapping)
    levels: Any = given.get("each") if isinstance(given, Mapping) else [given]
    if each and (len(given) != 1 or not isinstance(levels, (list, tuple)) or not levels):
        raise UserError(f"terrain level is {brief(dict(given))}: give a whole number, or with each a list of them.")
    return each, tuple(whole_number("terrain level", level, 0, top) for level in levels)
