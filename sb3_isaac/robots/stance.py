"""A pose to stand in, for files that say none: feet below the hips, legs bent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Sequence, Tuple

import mujoco
import numpy as np

BENT = 0.75
"""Height of the hips above the feet, by that of stretched legs: a Go2 stands at 0.72 of it, an ANYmal at 0.84."""
FREE_RANGE_RAD = 2.2
"""How far joints without a range, or with one of more than a turn, are tried, either way."""
SAMPLES, ROUND_SAMPLES, ROUND_SPREADS = 2000, 100, tuple(np.geomspace(0.3, 1e-4, 25))


@dataclass(frozen=True)
class Leg:
    """A chain of hinges from the trunk to a last link, and the geom at its end."""

    joints: Tuple[int, ...]
    geom: int


def find_legs(model: mujoco.MjModel) -> List[Leg]:
    """The largest group of chains with equally many joints, such as four legs beside an arm; of two, the lower one."""
    jointed = [int(model.jnt_bodyid[j]) for j in range(1, model.njnt)]
    chains = [_chain(model, body) for body in jointed]
    inner = {int(model.jnt_bodyid[j]) for chain in chains for j in chain[:-1]}
    legs = [leg for body, chain in zip(jointed, chains) if body not in inner for leg in _leg(model, body, chain)]
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    groups = [[leg for leg in legs if len(leg.joints) == count] for count in {len(leg.joints) for leg in legs}]
    return max(groups, key=lambda group: (len(group), -min(data.geom_xpos[leg.geom, 2] for leg in group)), default=[])


def standing_pose(model: mujoco.MjModel, legs: List[Leg]) -> Tuple[np.ndarray, float]:
    """Angles (njnt,) rad by joint id, 0 for joints outside the legs, and the stretched height m of hips above feet.

    Each foot is below its second last joint (the hip's pitch), at the side where it is with all angles at 0, and the
    hips at BENT of what the legs can reach. Among such poses the one with small angles, and knees to the rear. Angles
    are tried at random, the same for all legs, and then around the best of them, ever closer.
    """
    data, rng = mujoco.MjData(model), np.random.default_rng(0)
    low, high = _ranges(model)
    sides = _side(model, data, legs)
    tries = low + (high - low) * _alike(rng.random((SAMPLES, 4)), model, legs)
    places = np.stack([_places(model, data, q, legs) for q in tries])  # (samples, legs, 3 points, 3)
    drop = places[:, :, 0, 2] - places[:, :, 2, 2]
    reach = float(drop.max(axis=0).min())
    best, costs = np.zeros(model.njnt), np.full(len(legs), np.inf)
    for spread in (None, *ROUND_SPREADS):
        if spread is not None:
            noise = spread * _alike(rng.standard_normal((ROUND_SAMPLES, 4)), model, legs)
            noise[0] = 0.0
            tries = np.clip(best + noise, low, high)
            places = np.stack([_places(model, data, q, legs) for q in tries])
        for k, leg in enumerate(legs):
            # At first roughly, to choose between knees to the front and to the rear.
            cost = _cost(places[:, k], tries[:, leg.joints], sides[k], reach, 5.0 if spread is None else 100.0)
            if spread == ROUND_SPREADS[0] or cost.min() < costs[k]:
                costs[k] = cost.min()
                best[list(leg.joints)] = tries[np.argmin(cost), leg.joints]
    return best.round(3), reach


def _cost(places: np.ndarray, angles: np.ndarray, side: float, reach: float,
          weight: float) -> np.ndarray:
    """(samples,) of hip, knee and foot (samples, 3, 3) m in the trunk's frame, and angles (samples, k)."""
    hip, knee, foot = places.transpose(1, 0, 2) / reach
    miss = (foot[:, 0] - hip[:, 0]) ** 2 + (foot[:, 1] - side / reach) ** 2 + (hip[:, 2] - foot[:, 2] - BENT) ** 2
    return weight * miss + 0.01 * (angles**2).sum(axis=1) + 0.3 * (knee[:, 0] - hip[:, 0])


def _chain(model: mujoco.MjModel, body: int) -> Tuple[int, ...]:
    """The hinges from the trunk to a body."""
    chain: List[int] = []
    while body > 1:
        first = int(model.body_jntadr[body])
        chain = [*range(first, first + int(model.body_jntnum[body])), *chain] if first >= 0 else chain
        body = int(model.body_parentid[body])
    return tuple(chain)


def _leg(model: mujoco.MjModel, body: int, chain: Tuple[int, ...]) -> List[Leg]:
    """The leg that ends in this link, if there are geoms to stand on: its foot is the geom furthest from the joint."""
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    geoms = [g for g in range(model.ngeom) if model.geom_conaffinity[g] and chain[-1] in
             _chain(model, int(model.geom_bodyid[g]))]
    far = [float(np.linalg.norm(data.geom_xpos[g] - data.xanchor[chain[-1]])) for g in geoms]
    return [Leg(chain, geoms[int(np.argmax(far))])] if geoms and len(chain) > 1 else []


def leg_height(model: mujoco.MjModel, data: mujoco.MjData, legs: Sequence[Leg]) -> float:
    """How far the least stretched leg reaches below the trunk in the present pose, by its links in a row."""
    return min(float(data.xpos[1, 2] - data.geom_xpos[leg.geom, 2]) / leg_length(model, leg) for leg in legs)


def leg_length(model: mujoco.MjModel, leg: Leg) -> float:
    """Length of the leg with its links in a row."""
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    points = [*(data.xanchor[j] for j in leg.joints), data.geom_xpos[leg.geom]]
    return float(sum(np.linalg.norm(b - a) for a, b in zip(points, points[1:])))


def _ranges(model: mujoco.MjModel) -> Tuple[np.ndarray, np.ndarray]:
    limited = model.jnt_limited.astype(bool) & (model.jnt_range[:, 1] - model.jnt_range[:, 0] < 2 * np.pi)
    return (np.where(limited, model.jnt_range[:, 0], -FREE_RANGE_RAD),
            np.where(limited, model.jnt_range[:, 1], FREE_RANGE_RAD))


def _alike(numbers: np.ndarray, model: mujoco.MjModel, legs: List[Leg]) -> np.ndarray:
    """(samples, njnt) of numbers (samples, k): the i-th joint of every leg gets the i-th number."""
    spread = np.zeros((len(numbers), model.njnt))
    for leg in legs:
        for i, joint in enumerate(leg.joints):
            spread[:, joint] = numbers[:, i % numbers.shape[1]]
    return spread


def _side(model: mujoco.MjModel, data: mujoco.MjData, legs: List[Leg]) -> np.ndarray:
    return _places(model, data, np.zeros(model.njnt), legs)[:, 2, 1]


def _places(model: mujoco.MjModel, data: mujoco.MjData, angles: np.ndarray, legs: List[Leg]) -> np.ndarray:
    """Hip, knee and foot of each leg (legs, 3, 3) m, the trunk level at the origin."""
    data.qpos[:7] = (0, 0, 0, 1, 0, 0, 0)
    data.qpos[7:] = angles[1:]
    mujoco.mj_kinematics(model, data)
    return np.stack([np.stack((data.xanchor[leg.joints[-2]], data.xanchor[leg.joints[-1]], data.geom_xpos[leg.geom]))
                     for leg in legs])
