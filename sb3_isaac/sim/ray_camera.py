"""Pictures from cameras on robots: a plane, spheres and the sky, by ray casting in tensors, on any device.

The robot's own body and its shadow are not drawn. A ray p + t d meets a sphere with the centre at c from the eye and
radius r where t = d·c − √((d·c)² − |c|² + r²), and the ground, h below the eye, where t = h / s with the ray's descent
s. A surface is as bright as AMBIENT + DIFFUSE max(0, n·l), with its normal n and the direction l to the sun.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Sequence, Tuple

import torch

from sb3_isaac.contract.rotations import down, rotate_inverse

AMBIENT, DIFFUSE = 0.4, 0.6
SUN_W = (-0.36, 0.48, 0.8)
"""Where light comes from, a unit vector in the world."""
SKY, GROUND = (0.62, 0.76, 0.90), (0.45, 0.45, 0.42)
"""Colours, red, green and blue from 0 to 1."""
FAR_M = 10.0
"""What is further is as far as this in pictures of depth, and the sky is."""


class View(NamedTuple):
    """What N cameras see.

    ======= ================ ===========================================================================
    field   shape, dtype     what
    ======= ================ ===========================================================================
    colour  (N, 3, H, W) u8  red, green, blue; the first row is the top one
    depth   (N, H, W) f32    m along the line of sight of the picture's middle, at most ``FAR_M``
    shown   (N, H, W) i64    what a pixel shows: 0 the sky, 1 the ground, 2 + k the sphere k
    ======= ================ ===========================================================================
    """

    colour: torch.Tensor
    depth: torch.Tensor
    shown: torch.Tensor


class RayCamera:
    """A camera at the same place on each of N robots.

    :param size: pixels of the square picture.
    :param fov_deg: field of view, from edge to edge.
    :param eye_b: where it is, m in the frame of the robot's root.
    :param pitch_deg: how far it looks down from the robot's forward axis.
    """

    def __init__(self, size: int, fov_deg: float, eye_b: Sequence[float], pitch_deg: float,
                 device: torch.device) -> None:
        self.size = size
        self._eye_b = torch.tensor(eye_b, device=device)
        edge = math.tan(math.radians(fov_deg) / 2)
        across = edge * (1.0 - (2.0 * torch.arange(size) + 1.0) / size)  # of pixels' middles, left and up positive
        pitch = math.radians(pitch_deg)
        forward = torch.tensor([math.cos(pitch), 0.0, -math.sin(pitch)])
        left, up = torch.tensor([0.0, 1.0, 0.0]), torch.tensor([math.sin(pitch), 0.0, math.cos(pitch)])
        rays = forward + across[None, :, None] * left + across[:, None, None] * up
        rays = (rays / rays.norm(dim=2, keepdim=True)).reshape(-1, 3)
        self._rays = rays.t().contiguous().to(device)
        """Unit vectors (3, P) in the robot's frame."""
        self._ahead = (rays @ forward).to(device)
        """Cosine (P,) of each ray's angle from the middle one."""
        self._sun_w = torch.tensor(SUN_W, device=device)
        self._scenery = torch.tensor([SKY, GROUND], device=device)

    def look(self, root_pos_w: torch.Tensor, root_quat_w: torch.Tensor, centre_w: torch.Tensor, radius: torch.Tensor,
             colour: torch.Tensor) -> View:
        """Pictures from N robots whose roots are at these places.

        :param centre_w: of the spheres, (N, K, 3) m.
        :param radius: (K,) m.
        :param colour: (K, 3), from 0 to 1.
        """
        down_b = down(root_quat_w).contiguous()
        height = root_pos_w[:, 2] - (down_b @ self._eye_b)
        descent = down_b @ self._rays
        distance = height[:, None] / descent.clamp(min=1e-6)
        on_ground = (descent > 1e-6) & (distance < 1e3)
        distance.masked_fill_(~on_ground, math.inf)
        sun_b = rotate_inverse(root_quat_w, self._sun_w.expand_as(root_pos_w)).contiguous()
        to_sun = sun_b @ self._rays
        shown, cosine = on_ground.long(), torch.full_like(distance, SUN_W[2])
        for k in range(centre_w.shape[1]):
            centre_b = rotate_inverse(root_quat_w, centre_w[:, k] - root_pos_w).contiguous() - self._eye_b
            along = centre_b @ self._rays
            under = along.square() - centre_b.square().sum(dim=1, keepdim=True) + radius[k].square()
            half_chord = under.clamp(min=0.0).sqrt()
            reach = along - half_chord
            nearer = (under > 0.0) & (reach > 0.0) & (reach < distance)
            distance = torch.where(nearer, reach, distance)
            of_centre = (centre_b * sun_b).sum(dim=1, keepdim=True)
            cosine = torch.where(nearer, (reach * to_sun - of_centre) / radius[k], cosine)
            shown.masked_fill_(nearer, 2 + k)
        return self._view(distance, cosine, shown, torch.cat((self._scenery, colour)))

    def _view(self, distance: torch.Tensor, cosine: torch.Tensor, shown: torch.Tensor,
              colour: torch.Tensor) -> View:
        light = torch.where(shown > 0, AMBIENT + DIFFUSE * cosine.clamp(min=0.0), torch.ones_like(cosine))
        picture = torch.stack([(channel[shown] * light * 255.0).round() for channel in colour.t()], dim=1)
        shape: Tuple[int, ...] = (len(distance), self.size, self.size)
        return View(picture.to(torch.uint8).reshape(shape[0], 3, *shape[1:]),
                    (distance * self._ahead).clamp(max=FAR_M).reshape(shape), shown.reshape(shape))
