"""Between a policy and a robot's body: actions that act late, and sensors that are late, noisy and off."""

from __future__ import annotations

import math
from typing import Any, Collection, Dict, Mapping, NamedTuple, Optional, Sequence, Tuple

import torch

from sb3_isaac.contract.errors import UserError, brief, is_number, mapping, unknown


class Noise(NamedTuple):
    """Of a sensor, in its unit: in each step uniform in ±noise, and in each episode a constant uniform in ±bias."""

    noise: float = 0.0
    bias: float = 0.0


class LateTargets:
    """Targets of N robots that reach the drives `latency_s` late, to the nearest physics step.

    A ring of the last control steps' targets (slots, J, N). Before an episode's first target there was the start's.

    :param most_s: the longest latency.
    """

    def __init__(self, most_s: float, physics_dt: float, substeps: int, like: torch.Tensor) -> None:
        self._physics_dt, self._substeps, self._at = physics_dt, substeps, 0
        self._ring = like.t().repeat(math.ceil(round(most_s / physics_dt) / substeps) + 1, 1, 1)

    def step(self, targets: torch.Tensor, latency_s: torch.Tensor) -> torch.Tensor:
        """What reaches the drives in each physics step of a control step with targets (N, J): (substeps, N, J)."""
        slots = len(self._ring)
        self._at = (self._at + 1) % slots
        self._ring[self._at] = targets.t()
        late = (latency_s / self._physics_dt).round()
        # What acts at physics step s was told `late` physics steps before: that is so many control steps ago.
        ago = [((late - s) / self._substeps).ceil().clamp(min=0.0).long() for s in range(self._substeps)]
        slot = (self._at - torch.stack(ago)) % slots
        return torch.stack([_of_slots(self._ring, of).t() for of in slot])

    def restart(self, mask: torch.Tensor, targets: torch.Tensor) -> None:
        """Let the targets (N, J) of the robots of `mask` be all that they were told before."""
        torch.where(mask, targets.t(), self._ring, out=self._ring)

    def state_dict(self) -> Dict[str, Any]:
        """The ring and its place."""
        return {"ring": self._ring.clone(), "at": self._at}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state_dict()``."""
        self._ring.copy_(state["ring"])
        self._at = int(state["at"])


def _of_slots(ring: torch.Tensor, slot: torch.Tensor) -> torch.Tensor:
    """Of ring (slots, k, N) the slot (N,) of each robot, (k, N)."""
    return ring.gather(0, slot.expand(1, *ring.shape[1:]))[0]


class Sensors:
    """What N robots' sensors tell: observations as they were `obs_latency_s` ago, plus noise, plus a bias.

    Between two control steps sensors are interpolated. What a controller knows by itself, such as the command, is
    neither late nor noisy.

    :param task: whose random numbers and tensors these are.
    :param widths: observation -> its width, in the order in which they are joined.
    :param known: those that no sensor tells.
    :param noise: observation -> its noise.
    :param most_s: the longest latency, None: no observation is late.
    """

    def __init__(self, task: Any, widths: Mapping[str, int], known: Sequence[str], noise: Mapping[str, Noise],
                 most_s: Optional[float]) -> None:
        self._task, self._control_dt, self._at = task, task.control_dt, 0
        ends = [sum(list(widths.values())[:i + 1]) for i in range(len(widths))]
        self._rows = {name: slice(end - width, end) for (name, width), end in zip(widths.items(), ends)}
        late = [name for name in widths if name not in known] if most_s is not None else []
        self._late = [self._rows[name] for name in late]
        self._noisy = [self._rows[name] for name in noise]
        count = sum(widths[name] for name in noise)
        size = [[scale for name, one in noise.items() for scale in [getattr(one, kind)] * widths[name]]
                for kind in ("noise", "bias")]
        self._noise_size, self._bias_size = (torch.tensor(one, device=task.device) for one in size)
        self._biased = any(one.bias for one in noise.values())
        self._noise, self._bias = task.zeros(count), task.zeros(count)
        slots = 0 if most_s is None else math.ceil(most_s / self._control_dt) + 2
        self._ring = torch.zeros(slots, sum(widths[name] for name in late), task.num_envs, device=task.device)
        self._told = torch.zeros(self._ring.shape[1:], device=task.device)
        self._fresh = torch.ones(task.num_envs, dtype=torch.bool, device=task.device)
        self._is_new = False
        """Whether a control step has begun since it was last told."""

    def go_on(self) -> None:
        """A control step begins."""
        self._is_new = True
        self._draw_noise()
        if self._late:
            self._at = (self._at + 1) % len(self._ring)

    def _draw_noise(self) -> None:
        if self._noisy:
            self._task.uniform(self._noise).mul_(self._noise_size)

    def start(self, mask: torch.Tensor, first_time: bool) -> None:
        """An episode begins in the robots of `mask`: nothing was sensed before it."""
        if first_time:
            self._draw_noise()
        self._fresh |= mask
        if self._biased:
            drawn = self._task.uniform(self._task.zeros(self._bias.shape[1])).mul_(self._bias_size)
            torch.where(mask[:, None], drawn, self._bias, out=self._bias)

    def tell(self, obs: torch.Tensor, draws: Mapping[str, torch.Tensor]) -> None:
        """Make of true observations (N, K), in place, what the sensors tell at this moment."""
        rows = obs.t()
        if self._late:
            told = self._delayed(torch.cat([rows[part] for part in self._late]), draws["obs_latency_s"][:, 0])
            for part, values in zip(self._late, told.split([part.stop - part.start for part in self._late])):
                rows[part] = values
        if "joint_offset" in draws and "joint_pos" in self._rows:
            rows[self._rows["joint_pos"]] += draws["joint_offset"].t()
        if self._noisy:
            wrong = (self._noise + self._bias).t()
            if "noise_level" in draws:
                wrong = wrong * draws["noise_level"].t()
            for part, values in zip(self._noisy, wrong.split([part.stop - part.start for part in self._noisy])):
                rows[part] += values

    def _delayed(self, true: torch.Tensor, latency_s: torch.Tensor) -> torch.Tensor:
        """True observations (k, N) kept, and those of `latency_s` (N,) ago."""
        if self._is_new:
            self._ring[self._at] = true
            ago = latency_s / self._control_dt
            whole = ago.floor()
            slot = (self._at - whole.long()) % len(self._ring)
            newer, older = _of_slots(self._ring, slot), _of_slots(self._ring, (slot - 1) % len(self._ring))
            torch.lerp(newer, older, ago - whole, out=self._told)
        else:  # told again after restarts: where there was none, nothing has changed
            torch.where(self._fresh, true, self._ring, out=self._ring)
            torch.where(self._fresh, true, self._told, out=self._told)
        self._is_new = False
        self._fresh.zero_()
        return self._told

    def state_dict(self) -> Dict[str, Any]:
        """What was sensed, and what is wrong with it."""
        return {"at": self._at, **{name: getattr(self, name).clone() for name in self._STATE}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state_dict()``."""
        self._at = int(state["at"])
        for name in self._STATE:
            getattr(self, name).copy_(state[name])

    _STATE = ("_ring", "_told", "_noise", "_bias", "_fresh")


def noise_table(given: Any, names: Sequence[str]) -> Dict[str, Noise]:
    """Observation -> its noise: a number, or {noise: number, bias: number}; None takes one out.

    :param names: of the sensors there are.
    """
    table: Dict[str, Noise] = {}
    for name, value in mapping("randomize obs_noise", given).items():
        if name not in names:
            raise unknown("sensor", name, names, where="randomize obs_noise")
        parts = {"noise": value} if is_number(value) else value._asdict() if isinstance(value, Noise) else value
        if value is None:
            continue
        if not isinstance(parts, Mapping) or not parts or not all(is_number(v) and v >= 0 for v in parts.values()):
            raise UserError(f"randomize obs_noise {name} is {brief(value)}: give a number of at least 0, or a mapping "
                            "of noise and bias to such numbers.")
        for key in parts:
            if key not in Noise._fields:
                raise unknown("setting", key, Noise._fields, where=f"randomize obs_noise {name}")
        table[name] = Noise(**{key: float(number) for key, number in parts.items()})
    return table


def untrue(names: Sequence[str], known: Sequence[str], noise: Mapping[str, Noise],
           parameters: Collection[str]) -> Tuple[str, ...]:
    """Those of the observations `names` whose sensors do not tell the truth where `parameters` are randomised."""
    late = [name for name in names if name not in known] if "obs_latency_s" in parameters else []
    off = ["joint_pos"] if "joint_offset" in parameters else []
    return tuple(name for name in names if name in (*late, *off, *noise))
