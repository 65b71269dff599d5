"""Between a policy and a robot's body: actions that act late, and sensors that are late, noisy and off."""

from __future__ import annotations

import math
from typing import Any, Collection, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import torch

from sb3_isaac.contract.device import copy_where
from sb3_isaac.contract.errors import UserError, brief, is_number, mapping, unknown


class Noise(NamedTuple):
    """Of a sensor, in its unit: in each step uniform in ±noise, and in each episode a constant uniform in ±bias."""

    noise: float = 0.0
    bias: float = 0.0


class Past:
    """What N robots were told, or sensed, at the last control steps, newest first: (steps + 1, k, N).

    Before the start of an episode there was what there is at the start. A new step moves what there is by one place,
    so that the same memory is the newest at each step.

    :param steps: how many control steps back it reaches.
    :param width: k.
    :param like: a tensor of the N robots, (N,) or (N, ...).
    """

    def __init__(self, steps: int, width: int, like: torch.Tensor) -> None:
        self._rows = torch.zeros(steps + 1, width, len(like), device=like.device)
        self._place = torch.arange(steps + 1.0, device=like.device)[:, None, None]
        self.age = torch.zeros(len(like), dtype=torch.long, device=like.device)
        """Control steps (N,) since the episode began."""

    @property
    def now(self) -> torch.Tensor:
        """Of the present control step, (k, N), to be written."""
        return self._rows[0]

    def go_on(self) -> None:
        """A control step begins."""
        for k in range(len(self._rows) - 1, 0, -1):
            self._rows[k].copy_(self._rows[k - 1])
        self.age += 1

    def restart(self, mask: torch.Tensor) -> None:
        """An episode begins in the robots of `mask` (N,) bool."""
        self.age.masked_fill_(mask, 0)

    def ago(self, steps: torch.Tensor) -> torch.Tensor:
        """What there was each of `steps` (m, N) control steps ago, (m, k, N); between two, interpolated.

        It is summed up with weights that are 0 for all but these two: on a CPU a gather takes four times as long.
        """
        weight = (1.0 - (torch.minimum(steps, self.age) - self._place).abs_()).clamp_(min=0.0)[:, :, None]
        there = weight[0] * self._rows[0]
        for k in range(1, len(self._rows)):
            there.addcmul_(weight[k], self._rows[k])
        return there

    def state_dict(self) -> Dict[str, Any]:
        """What there was, and the ages."""
        return {"rows": self._rows.clone(), "age": self.age.clone()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state_dict()``."""
        if "ring" in state:  # of an earlier release: the newest is at a place that moves
            order = [(state["at"] - k) % len(state["ring"]) for k in range(len(self._rows))]
            state = {"rows": state["ring"][order], "age": state["age"]}
        self._rows.copy_(state["rows"])
        self.age.copy_(state["age"])


class LateTargets:
    """Targets of N robots that reach the drives `latency_s` late, to the nearest physics step.

    Before an episode's first target there was the start's.

    :param most_s: the longest latency.
    :param like: targets (N, J).
    """

    def __init__(self, most_s: float, physics_dt: float, substeps: int, like: torch.Tensor) -> None:
        self._physics_dt, self._substeps = physics_dt, substeps
        self._past = Past(math.ceil(round(most_s / physics_dt) / substeps), like.shape[1], like)
        self._physics_step = torch.arange(substeps, device=like.device)[:, None]
        self._past.now.copy_(like.t())

    def step(self, targets: torch.Tensor, latency_s: torch.Tensor) -> torch.Tensor:
        """What reaches the drives in each physics step of a control step with targets (N, J): (substeps, N, J)."""
        self._past.go_on()
        self._past.now.copy_(targets.t())
        late = (latency_s / self._physics_dt).round()
        # What acts at physics step s was told `late` physics steps before: that is so many control steps ago.
        ago = ((late - self._physics_step) / self._substeps).ceil_().clamp_(min=0.0)
        return self._past.ago(ago).transpose(1, 2)

    def restart(self, mask: torch.Tensor, targets: torch.Tensor) -> None:
        """Let the targets (N, J) of the robots of `mask` be all that they were told before."""
        copy_where(mask, targets.t(), self._past.now)
        self._past.restart(mask)

    def state_dict(self) -> Dict[str, Any]:
        """What was told."""
        return self._past.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state_dict()``."""
        self._past.load_state_dict(state)


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
        self._task, self._control_dt = task, task.control_dt
        self._joint_pos = joined(widths, ["joint_pos"])
        self._late = joined(widths, [name for name in widths if name not in known] if most_s is not None else [])
        self._noisy = joined(widths, noise)
        noises = [(noise[name], width) for name, width in widths.items() if name in noise]
        self._noise_size, self._bias_size = (
            torch.tensor([getattr(one, kind) for one, width in noises for _ in range(width)], device=task.device)
            for kind in ("noise", "bias"))
        self._biased = any(one.bias for one, _ in noises)
        self._noise, self._bias = task.zeros(len(self._noise_size)), task.zeros(len(self._noise_size))
        steps = 0 if most_s is None else math.ceil(most_s / self._control_dt)
        self._past = Past(steps, sum(part.stop - part.start for part, _ in self._late), self._noise)
        self._told = torch.zeros_like(self._past.now)
        self._is_new = False
        """Whether a control step has begun since it was last told."""

    def go_on(self) -> None:
        """A control step begins."""
        self._is_new = True
        self._draw_noise()
        if self._late:
            self._past.go_on()

    def _draw_noise(self) -> None:
        if self._noisy:
            self._task.uniform(self._noise).mul_(self._noise_size)

    def start(self, mask: torch.Tensor, first_time: bool) -> None:
        """An episode begins in the robots of `mask`: nothing was sensed before it."""
        if first_time:
            self._draw_noise()
        if self._late:
            self._past.restart(mask)
        if self._biased:
            drawn = self._task.uniform(self._task.zeros(self._bias.shape[1])).mul_(self._bias_size)
            copy_where(mask, drawn.t(), self._bias.t())

    def tell(self, obs: torch.Tensor, draws: Mapping[str, torch.Tensor]) -> None:
        """Make of true observations (N, K), in place, what the sensors tell at this moment."""
        rows = obs.t()
        if self._late:
            self._delay(rows, draws["obs_latency_s"][:, 0])
        if "joint_offset" in draws:
            for part, _ in self._joint_pos:
                rows[part] += draws["joint_offset"].t()
        if self._noisy:
            wrong = (self._noise + self._bias if self._biased else self._noise).t()
            for part, of in self._noisy:
                if "noise_level" in draws:
                    rows[part].addcmul_(wrong[of], draws["noise_level"].t())
                else:
                    rows[part] += wrong[of]

    def _delay(self, rows: torch.Tensor, latency_s: torch.Tensor) -> None:
        """Keep the true observations in rows (K, N), and put those of `latency_s` (N,) ago in their place."""
        if self._is_new:
            for part, of in self._late:
                self._past.now[of] = rows[part]
            self._told.copy_(self._past.ago(latency_s[None] / self._control_dt)[0])
        else:  # told again after restarts: only there anything has changed
            starts = self._past.age == 0
            for part, of in self._late:
                for kept in (self._past.now[of], self._told[of]):
                    copy_where(starts, rows[part], kept)
        self._is_new = False
        for part, of in self._late:
            rows[part] = self._told[of]

    def state_dict(self) -> Dict[str, Any]:
        """What was sensed, and what is wrong with it."""
        return {"past": self._past.state_dict(), **{name: getattr(self, name).clone() for name in self._STATE}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state_dict()``."""
        self._past.load_state_dict(state["past"])
        for name in self._STATE:
            getattr(self, name).copy_(state[name])

    _STATE = ("_told", "_noise", "_bias")


def joined(widths: Mapping[str, int], names: Collection[str]) -> List[Tuple[slice, slice]]:
    """Where the observations `names` are among all with these widths, neighbours in one slice, each beside where they
    are when these alone are joined."""
    parts: List[Tuple[slice, slice]] = []
    start = of = 0
    for name, width in widths.items():
        if name in names:
            if parts and parts[-1][0].stop == start:
                part, own = parts.pop()
                parts.append((slice(part.start, start + width), slice(own.start, of + width)))
            else:
                parts.append((slice(start, start + width), slice(of, of + width)))
            of += width
        start += width
    return parts


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
