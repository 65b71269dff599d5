"""The height of the ground below many points at once, on any device."""

from __future__ import annotations

from typing import Sequence, Union

import torch
from torch.nn import functional as F

from sb3_isaac.contract.rotations import yaw_of
from sb3_isaac.terrain.heightfield import Heightfield


class HeightMap:
    """Heights of a :class:`~sb3_isaac.terrain.heightfield.Heightfield` as a tensor. Beyond the field's border the
    heights of the border go on.

    :param device: where the heights live and points come from.
    """

    def __init__(self, field: Heightfield, device: Union[str, torch.device] = "cpu") -> None:
        self.field, self.device = field, torch.device(device)
        heights = torch.from_numpy(field.heights).to(self.device, torch.float32) + field.position[2]
        self._heights = heights.contiguous()
        self._image = heights.t().contiguous()[None, None]  # grid_sample's rows run along its second coordinate
        self._spacing = torch.tensor(field.spacing, device=self.device)
        self._corner = torch.tensor(field.position[:2], device=self.device)
        cells = torch.tensor(field.heights.shape, dtype=torch.float32, device=self.device) - 1.0
        self._cells = cells
        self._to_unit = 2.0 / (cells * self._spacing)

    def height_at(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Heights (...) m at points x, y (...) m of the world, bilinear between samples.

        On a slope and on level ground it is the collider's height, on the walls of steps it can be off by a part of
        them (see ``exact_height_at``, which takes six times as long).
        """
        points = (torch.stack((x, y), dim=-1) - self._corner) * self._to_unit - 1.0
        return self._sampled(points.reshape(1, 1, -1, 2)).reshape(x.shape)

    def _sampled(self, points: torch.Tensor) -> torch.Tensor:
        """Heights (1, 1, A, B) m at points (1, A, B, 2) of the field, -1 at its first samples and 1 at its last."""
        return F.grid_sample(self._image, points, mode="bilinear", padding_mode="border", align_corners=True)

    def exact_height_at(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Heights (...) m of MuJoCo's collider: of the two triangles of each cell, whose common edge runs from sample
        (i, j) to (i + 1, j + 1). Points that are NaN, of a simulation that diverged, get the height of a corner."""
        cell = ((torch.stack((x, y), dim=-1) - self._corner) / self._spacing).nan_to_num_(0.0).clamp_(min=0.0)
        cell = torch.minimum(cell, self._cells)
        index = torch.minimum(cell.floor(), self._cells - 1.0)
        u, v = (cell - index).unbind(dim=-1)
        i, j = index.long().unbind(dim=-1)
        near, far = self._heights[i, j], self._heights[i + 1, j + 1]
        along_x, along_y = self._heights[i + 1, j], self._heights[i, j + 1]
        below = near + u * (along_x - near) + v * (far - along_x)
        above = near + v * (along_y - near) + u * (far - along_y)
        return torch.where(u >= v, below, above)

    def scan(self, root_pos_w: torch.Tensor, root_quat_w: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Heights (N, K) m of the ground, in the world, at points that move and turn with robots about the vertical,
        stored point by point; bilinear as ``height_at``.

        :param root_pos_w: (N, 3) m.
        :param root_quat_w: (N, 4) wxyz, body to world; only its yaw counts.
        :param points: (K, 2) m ahead and to the left of the root (see ``scan_points``).
        """
        yaw, (scale_x, scale_y) = yaw_of(root_quat_w), self._to_unit
        cos, sin = torch.cos(yaw), torch.sin(yaw)
        x, y = ((root_pos_w[:, :2] - self._corner) * self._to_unit - 1.0).unbind(dim=1)
        # One product of matrices makes the points of all robots, which would otherwise take twice as long as the rest.
        turned = torch.stack((cos * scale_x, sin * scale_y, -sin * scale_x, cos * scale_y, x, y)).view(3, 2, -1)
        ahead_left_1 = F.pad(points, (0, 1), value=1.0)
        where = (ahead_left_1 @ turned.transpose(1, 2).reshape(3, -1)).view(1, len(points), -1, 2)
        return self._sampled(where)[0, 0].t()


def scan_points(ahead_m: Sequence[float], left_m: Sequence[float],
                device: Union[str, torch.device] = "cpu") -> torch.Tensor:
    """All pairs (K, 2) of the two: the first of `ahead_m` with each of `left_m`, then the second, ..."""
    ahead, left = (torch.tensor(list(values), dtype=torch.float32, device=device) for values in (ahead_m, left_m))
    return torch.cartesian_prod(ahead, left).reshape(-1, 2)
