"""Evaluation: one episode per robot, from its start, at a given command, without exploration."""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional, Sequence, Tuple, Union

import torch

from sb3_isaac.clients import env_options, make_tensor_env
from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.tensor_env import Step, TensorEnv
from sb3_isaac.rl.policy.export import Actor, acts_on_groups
from sb3_isaac.rl.policy.module import PolicyModule

Policy = Union[Actor, Callable[[torch.Tensor], torch.Tensor]]


def eval_options(env_id: str, env_kwargs: Dict[str, Any], command: Optional[Sequence[float]]) -> Dict[str, Any]:
    """Task options for evaluation: as trained, but full first episodes and one command that stays."""
    options = {k: v for k, v in env_kwargs.items() if k not in ("num_envs", "render_mode")}
    options["stagger"] = False
    if "command" in env_options(env_id):
        forward, yaw = command or (1.0, 0.0)
        options["command"] = {"forward_m_s": float(forward), "yaw_rad_s": float(yaw), "resample_s": 1e6}
    elif command is not None:
        raise UserError(f"{env_id} takes no command: leave out --command.")
    return options


def make_eval_env(policy: PolicyModule, num_envs: int, command: Optional[Sequence[float]] = None,
                  seed: Optional[int] = None, env: Optional[str] = None, **extra: Any) -> TensorEnv:
    """The environment that `policy` was trained on, or `env`, set up for evaluation.

    :param extra: options in place of those it was trained with, such as ``sim="isaacgym"``.
    :raises UserError: when the policy's observations or actions do not fit the environment.
    """
    env_id = env or policy.info["env"]
    options = eval_options(env_id, dict(policy.info["env_kwargs"]) if env_id == policy.info["env"] else {}, command)
    made = make_tensor_env(env_id, num_envs, seed=seed, **{**options, **extra})
    ours = made.metadata()["obs_table"]
    if ours != policy.info["obs_table"]:
        made.close()
        raise UserError(f"the policy was trained on {policy.info['env']} with observations "
                        f"{policy.info['obs_table']}, and {env_id} has {ours}: evaluate it on what it was trained on.")
    policy.to(made.device)
    return made


class _Gait:
    """Sums of the walking measures of ``Step.log`` over each robot's first episode."""

    def __init__(self, num_envs: int, feet: int, control_dt: float, device: torch.device) -> None:
        self._dt = control_dt
        self.speed, self.yaw, self.energy, self.knee = torch.zeros(4, num_envs, device=device).unbind()
        self.min_height = torch.full((num_envs,), float("inf"), device=device)
        self.duty, self._peak, self.swings, self.clearance = torch.zeros(4, num_envs, feet, device=device).unbind()

    def add(self, log: Dict[str, torch.Tensor], live: torch.Tensor) -> None:
        """Take in a step of the robots of `live` (N,) bool."""
        self.speed += log["forward_speed"] * live
        self.yaw += log["yaw_rate"] * live * self._dt
        self.energy += log["power_w"] * live * self._dt
        self.knee += log["knee_contact"] * live
        height = torch.where(live, log["trunk_height_m"], self.min_height)
        torch.minimum(self.min_height, height, out=self.min_height)
        contact = log["foot_contact"]
        self.duty += contact * live[:, None]
        # A swing ends where the foot touches again; its clearance is the highest point in between.
        ended = contact & (self._peak > 0) & live[:, None]
        self.clearance += self._peak * ended
        self.swings += ended
        self._peak = torch.where(contact, 0.0, torch.maximum(self._peak, log["foot_clearance_m"]))

    def report(self, good: torch.Tensor, length: torch.Tensor, command: torch.Tensor,
               weight_n: float) -> Dict[str, float]:
        """Means over the robots of `good` (N,) bool."""
        length = length[good]
        speed = self.speed[good] / length
        distance = (self.speed[good] * self._dt).abs().clamp(min=1e-6)
        drift = self.yaw[good] - command[good, 1] * length * self._dt
        return {
            "forward_speed_mean": float(speed.mean()),
            "forward_speed_std": float(speed.std(correction=0)),
            "yaw_drift_rad": float(drift.abs().mean()),
            "cost_of_transport": float((self.energy[good] / (weight_n * distance)).median()),
            "min_trunk_height_m": float(self.min_height[good].min()),
            "knee_contact_fraction": float((self.knee[good] / length).mean()),
            "foot_clearance_m": float(self.clearance[good].sum() / self.swings[good].sum().clamp(min=1)),
            "duty_factor": float((self.duty[good] / length[:, None]).mean()),
        }


def evaluate(env: TensorEnv, policy: Policy, seed: Optional[int] = None,
             on_step: Optional[Callable[[int, int], None]] = None, max_steps: Optional[int] = None) -> Dict[str, Any]:
    """Run every environment's first episode to its end and report the means.

    Keys: ``episodes reward_mean reward_std length_mean falls_fraction bad_worlds seed`` and, on a walking task,
    ``forward_speed_mean/std`` m/s, ``yaw_drift_rad`` (mean |turned − told to turn|), ``cost_of_transport``
    (Σ|τ q̇|Δt over weight × distance, median), ``min_trunk_height_m`` (of all robots and steps),
    ``knee_contact_fraction`` (of steps), ``foot_clearance_m`` (mean of each swing's highest point above stance),
    ``duty_factor`` (share of time a foot is on the ground), ``command``.
    Episodes that the simulator lost are counted in ``bad_worlds`` and in nothing else.

    :param on_step: called with (episodes finished, episodes in all) after each step.
    :param max_steps: cut episodes off after so many steps, for a quick look: rewards are then those of robots that go
        on at the same pace to the end of their episode, where they have not fallen before.
    """
    n = env.num_envs
    obs = env.reset(seed=seed)
    live = torch.ones(n, dtype=torch.bool, device=env.device)
    reward, length = torch.zeros(n, device=env.device), torch.zeros(n, device=env.device)
    fell, lost = torch.zeros_like(live), torch.zeros_like(live)
    gait: Optional[_Gait] = None
    command = torch.zeros(n, 2, device=env.device)
    metadata, steps, act = env.metadata(), 0, acts_on_groups(policy)
    while bool(live.any()):
        step: Step = env.step(act(obs))
        obs = step.obs
        if gait is None and "foot_contact" in step.log:
            gait = _Gait(n, step.log["foot_contact"].shape[1], metadata["control_dt"], env.device)
            command = step.log["command"].clone()
        reward += step.reward * live
        length += live
        if gait is not None:
            gait.add(step.log, live)
        bad = step.log.get("bad_world", torch.zeros_like(live))
        lost |= bad & live
        fell |= step.terminated & ~bad & live
        live &= ~(step.terminated | step.truncated)
        steps += 1
        if on_step is not None:
            on_step(n - int(live.sum()), n)
        if steps == max_steps:
            reward[live] *= env.max_steps / steps  # type: ignore[attr-defined]
            break
    good = ~lost
    if not bool(good.any()):
        raise UserError(f"the simulator lost all {n} worlds of the evaluation: the policy's actions or the physics "
                        "step make it diverge, so try a smaller physics_dt.")
    report: Dict[str, Any] = {
        "episodes": int(good.sum()), "reward_mean": float(reward[good].mean()),
        "reward_std": float(reward[good].std(correction=0)), "length_mean": float(length[good].mean()),
        "falls_fraction": float(fell[good].float().mean()), "bad_worlds": int(lost.sum()), "seed": seed,
    }
    if gait is not None:
        report.update(gait.report(good, length, command, metadata["weight_n"]))
        report["command"] = [round(value, 6) for value in command[0].tolist()]
    return report


STOP_REWARD, STOP_SPEED_M_S, STOP_FALLS = 300.0, (0.95, 1.05), 0.01


def walks(report: Dict[str, Any]) -> bool:
    """The stop rule: reward above 300 and speed 0.95–1.05 m/s at the command (1, 0), at most 1% falls."""
    speed: Tuple[float, float] = STOP_SPEED_M_S
    return (report["reward_mean"] > STOP_REWARD and speed[0] <= report.get("forward_speed_mean", 0.0) <= speed[1]
            and report["falls_fraction"] <= STOP_FALLS)
