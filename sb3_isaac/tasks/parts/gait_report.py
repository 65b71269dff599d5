"""The figures of a gait, from the measures of a legged robot's evaluated episodes."""

from __future__ import annotations

from typing import Any, Dict, Sequence

import torch

from sb3_isaac.contract.episodes import Episodes


def gait_report(episodes: Episodes, weight_n: float, axes: Sequence[str]) -> Dict[str, Any]:
    """Means over the episodes that did not diverge.

    ``falls_fraction``; ``forward_speed_mean/std`` m/s; ``yaw_drift_rad`` (mean |turned − told to turn|, from the
    heading, which counts whole turns); ``cost_of_transport`` (Σ|τ q̇|Δt over weight × distance, median);
    ``min_trunk_height_m`` (of all robots and steps); ``knee_contact_fraction`` (of steps); ``foot_clearance_m`` (mean
    of each swing's highest point above stance); ``duty_factor`` (share of time a foot is on the ground); ``command``
    (of the first robot).
    """
    good, dt = episodes.good, episodes.control_dt
    speed = episodes.mean("forward_speed")
    told = {name: values for name, values in zip(axes, episodes.sum("command").unbind(dim=1))}
    told_turn = told.get("yaw_rad_s", torch.zeros_like(speed))
    drift = (episodes.sum("heading_rate") - told_turn) * dt
    distance = (episodes.sum("forward_speed") * dt).abs().clamp(min=1e-6)
    swings = episodes.sum("swing_ended").sum().clamp(min=1.0)
    return {
        "falls_fraction": float(episodes.terminated[good].float().mean()),
        "forward_speed_mean": float(speed.mean()),
        "forward_speed_std": float(speed.std(correction=0)),
        "yaw_drift_rad": float(drift.abs().mean()),
        "cost_of_transport": float((episodes.sum("power_w") * dt / (weight_n * distance)).median()),
        "min_trunk_height_m": float(episodes.least("trunk_height_m").min()),
        "knee_contact_fraction": float(episodes.mean("knee_contact").mean()),
        "foot_clearance_m": float(episodes.sum("swing_peak_m").sum() / swings),
        "duty_factor": float(episodes.mean("foot_contact").mean()),
        "command": [round(value, 6) for value in episodes.mean("command")[0].tolist()],
    }
