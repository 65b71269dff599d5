"""Randomisation of legged robots: draws, late actions, and sensors that do not tell the truth."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional

import torch

from sb3_isaac.contract.device import known_empty
from sb3_isaac.contract.errors import UserError, mapping
from sb3_isaac.tasks.parts.legged_parameters import PARAMETERS, check_table, seen_by_critic
from sb3_isaac.tasks.parts.mirror import Kind
from sb3_isaac.tasks.parts.randomize import Randomization, randomize_table
from sb3_isaac.tasks.parts.sensing import LateTargets, Sensors, noise_table, untrue
from sb3_isaac.tasks.parts.terms import Function, with_functions


class LeggedRandomization(Randomization):
    """All that is randomised of a :class:`~sb3_isaac.tasks.parts.legged.LeggedTask`, and the state of it.

    :param task: with a simulator, the tables ``RANDOMIZE OBSERVATION MIRROR KNOWN``, and no other part yet.
    :param given: the user's changes of ``RANDOMIZE``.
    :param observation: the user's changes of ``OBSERVATION``.
    """

    def __init__(self, task: Any, given: Optional[Mapping[str, Any]], observation: Optional[Mapping[str, Any]]) -> None:
        wanted = {**task.RANDOMIZE, **mapping("randomize", given)}
        policy = with_functions(task.OBSERVATION["policy"], mapping("observation", observation).get("policy"),
                                "observation")
        self._noise = noise_table(wanted.pop("obs_noise", None), [name for name in policy if name not in task.KNOWN])
        table = randomize_table(PARAMETERS, wanted)
        needed = dict.fromkeys(name for parameter in table for name in PARAMETERS[parameter].needs)
        self.nominal = {name: task.sim.get_param(name) for name in needed}
        """Parameters of the simulator as they are without randomisation, (N, ...)."""
        check_table(table, self.nominal, self._noise)
        super().__init__(task, PARAMETERS, table)
        self._untrue = untrue(list(policy), task.KNOWN, self._noise, table)
        self.critic: Dict[str, Function] = {
            **{f"true_{name}": policy[name] for name in self._untrue},
            **{name: seen_by_critic(name) for name in table if PARAMETERS[name].mirror is not None}}
        """What the critic sees besides: the truth where sensors do not tell it, and the draws."""
        self.mirror: Dict[str, Optional[Kind]] = {
            **{f"true_{name}": task.MIRROR.get(name, getattr(policy[name], "mirror", None)) for name in self._untrue},
            **{name: PARAMETERS[name].mirror for name in table}}
        self._sensors: Optional[Sensors] = None
        self._late: Optional[LateTargets] = None
        if "latency_s" in table:
            pose = torch.tensor(task.robot.default_joint_pos, device=task.device)
            self._late = LateTargets(self.bounds("latency_s")[1], task.control_dt / task.sim.substeps,
                                     task.sim.substeps, pose.repeat(task.num_envs, 1))

    @property
    def acts(self) -> bool:
        """Whether anything is randomised."""
        return bool(self.table or self._untrue)

    def sense(self, widths: Mapping[str, int]) -> None:
        """Make the sensors, of observations with these widths."""
        if self._untrue:
            most = self.bounds("obs_latency_s")[1] if "obs_latency_s" in self.table else None
            self._sensors = Sensors(self._task, widths, self._task.KNOWN, self._noise, most)

    def start(self, mask: torch.Tensor, first_time: bool) -> None:
        """See :class:`Randomization`."""
        if known_empty(mask):
            return
        super().start(mask, first_time)
        if self._sensors is not None:
            self._sensors.start(mask, first_time)
        if self._late is not None:
            self._late.restart(mask, self._encoded(self._task.default_joint_pos.expand_as(self._task.action)))

    def go_on(self, control_dt: float) -> None:
        """See :class:`Randomization`."""
        super().go_on(control_dt)
        if self._sensors is not None:
            self._sensors.go_on()

    def targets(self, targets: torch.Tensor) -> torch.Tensor:
        """What of targets (N, J) rad reaches the joints, (N, J) or (substeps, N, J)."""
        targets = self._encoded(targets)
        return targets if self._late is None else self._late.step(targets, self.draws["latency_s"][:, 0])

    def _encoded(self, targets: torch.Tensor) -> torch.Tensor:
        """Where targets truly are: a drive goes by its encoder."""
        return targets - self.draws["joint_offset"] if "joint_offset" in self.draws else targets

    def tell(self, obs: torch.Tensor) -> None:
        """Make of true observations (N, K), in place, what the sensors tell."""
        if self._sensors is not None:
            self._sensors.tell(obs, self.draws)

    def state_dict(self) -> Dict[str, Any]:
        """See :class:`Randomization`."""
        return {**super().state_dict(), **{name: part.state_dict() for name, part in self._parts().items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See :class:`Randomization`."""
        if state.keys() != self.state_dict().keys() or state["draws"].keys() != self.draws.keys():
            raise UserError("the saved environment was randomised otherwise than this one: continue with the same "
                            "randomize.")
        super().load_state_dict(state)
        for name, part in self._parts().items():
            part.load_state_dict(state[name])

    def _parts(self) -> Dict[str, Any]:
        parts = {"sensors": self._sensors, "late": self._late}
        return {name: part for name, part in parts.items() if part is not None}
