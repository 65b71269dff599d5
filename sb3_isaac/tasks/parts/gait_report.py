"""The figures of a gait, from the measures of a legged robot's evaluated episodes."""

from __future__ import annotations

from typing import Any, Dict, List, Sequence

import torch

from sb3_isaac.contract.episodes import Episodes
from sb3_isaac.tasks.parts.features import SETTLE_S, VELOCITY_AXES
from sb3_isaac.tasks.parts.limits import KINDS

SPEED_WITHIN, LEAST_M_S = 0.2, 0.1


def gait_report(episodes: Episodes, weight_n: float, axes: Sequence[str]) -> Dict[str, Any]:
    """Means over the episodes that did not diverge.

    ``falls_fraction``; ``forward_speed_mean/std``, ``left_speed_mean`` m/s; ``yaw_rate_mean`` rad/s;
    ``yaw_drift_rad`` (mean |turned − told to turn|, from the heading, which counts whole turns);
    ``cost_of_transport`` (Σ|τ q̇|Δt over weight × distance, median);
    ``min_trunk_height_m`` (of all robots and steps); ``knee_contact_fraction`` (of steps); ``foot_clearance_m`` (mean
    of each swing's highest point above stance); ``foot_slip_m_s`` (mean horizontal speed of feet on the ground);
    ``range_violations``, ``speed_violations``, ``torque_violations`` (joints beyond a soft limit, counted over the
    steps of an episode, mean over episodes); ``duty_factor`` (share of time a foot is on the ground); ``command`` (of
    the first robot);
    ``tracking_error_<axis>`` (mean |velocity − command| of all steps, m/s and rad/s); where robots were told different
    commands, ``by_command``: a row for each, of the command, the tracking errors and the share that fell. Of the robots
    that were told to stand for whole episodes, from 2 s on: ``standing_drift_m`` (how far the furthest went within
    10 s) and ``standing_steps_s`` (steps a second, mean); missing where none was.
    """
    good, dt = episodes.good, episodes.control_dt
    speed = episodes.mean("forward_speed")
    told = {name: values for name, values in zip(axes, episodes.sum("command").unbind(dim=1))}
    told_turn = told.get("yaw_rad_s", torch.zeros_like(speed))
    drift = (episodes.sum("heading_rate") - told_turn) * dt
    distance = (torch.hypot(episodes.sum("forward_speed"), episodes.sum("left_speed")) * dt).clamp(min=1e-6)
    swings = episodes.sum("swing_ended").sum().clamp(min=1.0)
    return {
        "falls_fraction": float(episodes.terminated[good].float().mean()),
        "forward_speed_mean": float(speed.mean()),
        "forward_speed_std": float(speed.std(correction=0)),
        "left_speed_mean": float(episodes.mean("left_speed").mean()),
        "yaw_rate_mean": float(episodes.mean("heading_rate").mean()),
        "yaw_drift_rad": float(drift.abs().mean()),
        "cost_of_transport": float((episodes.sum("power_w") * dt / (weight_n * distance)).median()),
        "min_trunk_height_m": float(episodes.least("trunk_height_m").min()),
        "knee_contact_fraction": float(episodes.mean("knee_contact").mean()),
        "foot_clearance_m": float(episodes.sum("swing_peak_m").sum() / swings),
        "foot_slip_m_s": float(episodes.mean("foot_slip_m_s").mean()),
        **{f"{kind}_violations": float(episodes.sum(f"{kind}_violations").mean()) for kind in KINDS},
        "duty_factor": float(episodes.mean("foot_contact").mean()),
        **_tracking_errors(episodes, axes), **_standing(episodes), **_by_command(episodes),
        "command": [round(value, 6) for value in episodes.mean("command")[0].tolist()],
    }


def walked(episodes: Episodes, axes: Sequence[str]) -> Dict[str, torch.Tensor]:
    """What became of each of the M good episodes, (M,) each.

    ``success``: no fall, and a mean velocity forward and to the left that is off the command by at most 20% of it, or
    0.1 m/s where that is more; ``speed_m_s`` forward.
    """
    told = dict(zip(axes, episodes.mean("command").unbind(dim=1)))
    speed, left = episodes.mean("forward_speed"), episodes.mean("left_speed")
    still = torch.zeros_like(speed)
    to_go = torch.hypot(told.get("forward_m_s", still), told.get("left_m_s", still))
    off = torch.hypot(speed - told.get("forward_m_s", still), left - told.get("left_m_s", still))
    success = ~episodes.terminated[episodes.good] & (off <= (SPEED_WITHIN * to_go).clamp(min=LEAST_M_S))
    return {"success": success, "speed_m_s": speed}


def _tracking_errors(episodes: Episodes, axes: Sequence[str]) -> Dict[str, float]:
    told = {"yaw_rad_s" if name == "heading_rad" else name for name in axes}
    errors = episodes.mean("tracking_error").mean(dim=0).tolist()
    return {f"tracking_error_{name}": error for name, error in zip(VELOCITY_AXES, errors) if name in told}


def _standing(episodes: Episodes) -> Dict[str, float]:
    stood = (episodes.least("standing") == 1.0) & (episodes.length[episodes.good] * episodes.control_dt > SETTLE_S)
    if not bool(stood.any()):
        return {}
    drift = episodes.greatest("standing_drift_m")[stood]
    watched_s = episodes.length[episodes.good][stood] * episodes.control_dt - SETTLE_S
    steps = episodes.sum("standing_steps")[stood] / watched_s
    return {"standing_drift_m": float(drift.max()), "standing_steps_s": float(steps.mean())}


def _by_command(episodes: Episodes) -> Dict[str, List[List[float]]]:
    held = (episodes.greatest("command") == episodes.least("command")).all()
    commands, of = torch.unique(episodes.least("command"), dim=0, return_inverse=True)
    if len(commands) < 2 or not bool(held):
        return {}
    figures = torch.cat((episodes.mean("tracking_error"), episodes.terminated[episodes.good][:, None].float()), dim=1)
    sums = torch.zeros(len(commands), figures.shape[1], device=figures.device).index_add_(0, of, figures)
    rows = torch.cat((commands, sums / of.bincount()[:, None]), dim=1)
    return {"by_command": [[round(value, 4) for value in row] for row in rows.tolist()]}
