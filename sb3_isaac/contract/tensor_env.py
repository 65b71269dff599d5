"""The one interface that learning code sees: many environments as one object that speaks tensors."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass, field
from typing import Any, Collection, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import torch
from gymnasium import spaces

from sb3_isaac.contract.episodes import Episodes
from sb3_isaac.contract.errors import UserError, unknown
from sb3_isaac.contract.mirror import Mirrors
from sb3_isaac.contract.stage import Stage

Obs = Dict[str, torch.Tensor]


class Step(NamedTuple):
    """What one control step of N environments gives back.

    ============ ====================== ===============================================================
    field        shape, dtype           what
    ============ ====================== ===============================================================
    obs          {group: (N, ...)}      where an episode ended: the first observation of the next one
    reward       (N,) f32
    terminated   (N,) bool              the episode ended in a state of no return (a fall)
    truncated    (N,) bool              the episode ran out of time; never true together with terminated
    final_obs    {group: (N, ...)}      the observation this step led to: where an episode ended, its true
                                        last one; elsewhere ``obs``, or as it was before a command was drawn anew
    log          {name: (N, ...)}       measures of this step before any restart: ``reward/<term>``, ...;
                                        the same names at each step
    ============ ====================== ===============================================================

    ``log["bad_world"]`` (N,) bool, where present, marks episodes whose simulation diverged; they are reported as
    terminated with reward 0 and belong in no statistic.
    The tensors are the environment's own and change at its next step: copy what is kept.
    """

    obs: Obs
    reward: torch.Tensor
    terminated: torch.Tensor
    truncated: torch.Tensor
    final_obs: Obs
    log: Dict[str, torch.Tensor]


@dataclass(frozen=True)
class StopRule:
    """Training has reached its goal when every key of an evaluation's report lies in its range, bounds included.

    :param ranges: report key -> (low, high); either may be infinite.
    :param goal: what is then said, such as "it walks".
    :param training: log key of a rollout -> (low, high): what the last rollout before the evaluation has to have
        shown besides, such as that the whole range of commands is trained.
    :param evaluations: of so many evaluations, each from starts of its own, every one has to be in the ranges: where
        what is rare counts, such as a fall, the first one that is may be so by luck.
    :param episodes: of an evaluation while training. Fewer cost less; the mean of a figure that differs by s from
        robot to robot is off by s / √episodes, and of a share that is rare fewer show less.
    :param early: keys of `ranges` that the first seconds of an evaluation tell: means over time whose later seconds
        are like the earlier ones, and shares of episodes that only grow. An evaluation that only asks whether training
        may end is given up where one of them is out of reach.
    """

    ranges: Mapping[str, Tuple[float, float]]
    goal: str = "the goal is reached"
    training: Mapping[str, Tuple[float, float]] = field(default_factory=dict)
    evaluations: int = 1
    early: Sequence[str] = ()
    episodes: int = 48

    def __post_init__(self) -> None:
        for key in self.early:
            if key not in self.ranges:
                raise unknown("key", key, self.ranges, where="the stop rule's ranges, which early is of")
        for name in ("evaluations", "episodes"):
            number = getattr(self, name)
            if isinstance(number, bool) or not isinstance(number, int) or number < 1:
                raise UserError(f"the stop rule's number of {name} is {number!r}: give 1 or more.")
        for key, bounds in {**self.ranges, **self.training}.items():
            pair = isinstance(bounds, (tuple, list)) and len(bounds) == 2
            if not pair or not all(isinstance(bound, (int, float)) for bound in bounds) or not bounds[0] <= bounds[1]:
                raise UserError(f"the stop rule's range of {key} is {bounds!r}: give (low, high) with low <= high; "
                                "either may be infinite.")

    def met(self, report: Mapping[str, Any]) -> bool:
        """Whether `report` has every key within its range; NaN is in no range."""
        return all(key in report and low <= report[key] <= high for key, (low, high) in self.ranges.items())

    def out_of_reach(self, figures: Mapping[str, Any], margin: float) -> str:
        """Which ``early`` key of `figures` is outside its range by more than `margin` of the bound; "" if none is."""
        for key in self.early:
            low, high = self.ranges[key]
            if key in figures and not low - margin * abs(low) <= figures[key] <= high + margin * abs(high):
                return f"{key} {figures[key]:.3g}, and the goal is {_range(low, high)}"
        return ""

    def trained(self, values: Mapping[str, Any]) -> bool:
        """Whether `values`, those of a rollout's log, are within the ranges of ``training``."""
        return all(key in values and low <= values[key] <= high for key, (low, high) in self.training.items())

    def __str__(self) -> str:
        return ", ".join(f"{key} {_range(low, high)}" for key, (low, high) in self.ranges.items())


def _range(low: float, high: float) -> str:
    if math.isinf(high):
        return f"at least {low:g}"
    return f"at most {high:g}" if math.isinf(low) or low == 0 else f"{low:g} to {high:g}"


class Shown(NamedTuple):
    """A number that people see: ``label``, the ``key`` it is found under, and a format such as ``{:.2f} m/s``."""

    label: str
    key: str
    form: str = "{:.2f}"


class Panel(NamedTuple):
    """A plot over environment steps: the ``key`` of ``metrics.csv`` and a title."""

    key: str
    title: str


@dataclass(frozen=True)
class Display:
    """Which numbers of a task people look at, and how they are written.

    :param progress: in the line of each iteration, by log key.
    :param evaluation: in the line of an evaluation, by report key.
    :param panels: of a learning curve, besides the reward of training and evaluation.
    :param overlay: on a video, by the name of a measure (N,) in ``Step.log``, of the first environment.
    """

    progress: Tuple[Shown, ...] = ()
    evaluation: Tuple[Shown, ...] = ()
    panels: Tuple[Panel, ...] = ()
    overlay: Tuple[Shown, ...] = ()


class TensorEnv:
    """N environments that step together; an episode that ends is followed by the next in the same step.

    A subclass sets the five attributes without a value and writes ``reset`` and ``step``; the rest has defaults.

    ================== ========================= ==================================================================
    member             type                      what
    ================== ========================= ==================================================================
    num_envs           int                       N
    device             torch.device              where all tensors live
    observation_space  spaces.Dict               one environment's groups: ``policy`` always, ``critic`` and others
                                                 where the task has them
    action_space       spaces.Space              one environment's
    control_dt         float                     seconds of one ``step``
    max_steps          int                       steps after which an episode runs out of time
    render_mode        str or None               ``rgb_array`` if ``render`` draws
    physics_s          float                     seconds spent in physics since construction (0: not told apart)
    logged             tuple of str              names of measures (N,) in ``Step.log`` that training logs as
                                                 ``rollout/<name>``, or under its own name where that has a ``/``:
                                                 the mean of numbers, the count of booleans
    measured           names or None             which measures ``Step.log`` has to hold besides rewards and
                                                 ``bad_world``; None: all there are. Whoever reads few says so, and an
                                                 environment may then leave out the others' work
    stop_rule          StopRule or None          when training has reached its goal
    display            Display                   which numbers people look at
    SOFT_OPTIONS       tuple of str              options that ``change_options`` changes without building anew
    CONDITIONS         {name: values}            what ``sb3-isaac robustness`` varies, and the values that it tries
    ================== ========================= ==================================================================
    """

    num_envs: int
    device: torch.device
    observation_space: spaces.Dict
    action_space: spaces.Space
    control_dt: float = 1.0
    max_steps: int
    render_mode: Optional[str] = None
    physics_s: float = 0.0
    logged: Tuple[str, ...] = ()
    measured: Optional[Collection[str]] = None
    stop_rule: Optional[StopRule] = None
    display: Display = Display()
    SOFT_OPTIONS: Tuple[str, ...] = ()
    CONDITIONS: Mapping[str, Sequence[float]] = {}

    def reset(self, seed: Optional[int] = None) -> Obs:
        """Start every episode anew; a seed makes what follows reproducible."""
        raise NotImplementedError

    def step(self, actions: torch.Tensor) -> Step:
        """Advance by one control step with actions (N, ...) on ``device``.

        It is called without gradients: what differentiates does so within ``torch.enable_grad()``.
        """
        raise NotImplementedError

    def observe(self) -> Obs:
        """The observation of the present state, as ``reset`` or ``step`` gave it last."""
        raise UserError(f"{type(self).__name__} has no observe(): write it to use this environment where observations "
                        "are asked for between steps.")

    def restart(self, mask: torch.Tensor) -> Obs:
        """Start a new episode in the environments of `mask` (N,) bool, and observe."""
        raise UserError(f"{type(self).__name__} has no restart(mask): write it to restart some environments alone.")

    def options(self) -> Dict[str, Any]:
        """The ``SOFT_OPTIONS`` in effect, by name, those that have their defaults included."""
        return {}

    def change_options(self, **options: Any) -> None:
        """From now on, as if made with these ``SOFT_OPTIONS`` and the defaults of the others; ``reset`` follows."""
        if options:
            raise UserError(f"{type(self).__name__} has no option that can be changed later and was given "
                            f"{', '.join(options)}: make a new one.")

    @classmethod
    def evaluation_options(cls, options: Mapping[str, Any],
                           command: Optional[Sequence[Any]] = None, hold_s: Optional[float] = None) -> Dict[str, Any]:
        """The constructor's keywords for evaluation, from those of training.

        Where the constructor takes ``stagger``, first episodes are whole.

        :param command: what the robots are told to do, in a task that has commands: numbers, or several lists of them,
            which the robots are told in turn.
        :param hold_s: seconds after which a robot goes on to the next of several; None: it keeps its own.
        """
        if command is not None:
            raise UserError(f"{cls.__name__} takes no command: leave it out.")
        whole = {"stagger": False} if "stagger" in constructor_parameters(cls) else {}
        return {**options, **whole}

    @classmethod
    def condition_options(cls, options: Mapping[str, Any], each: Mapping[str, Sequence[float]]) -> Dict[str, Any]:
        """The constructor's keywords, in place of those of `options`, for environments under different conditions.

        :param each: lists of one length k, by the names of ``CONDITIONS``: environment i has the values number i mod k.
        """
        raise UserError(f"{cls.__name__} has no condition_options(): write it to try policies under conditions.")

    def outcomes(self, episodes: Episodes) -> Dict[str, torch.Tensor]:
        """What became of each of the M good episodes, (M,) by name: ``success`` bool, and numbers of the task's own."""
        return {"success": ~episodes.terminated[episodes.good]}

    def report(self, episodes: Episodes) -> Dict[str, Any]:
        """The task's own figures of evaluated episodes, beside those that every task has; numbers by name."""
        return {}

    def warnings(self) -> Dict[str, int]:
        """Warnings of the simulator since the last call, counted by name; logged as ``rollout/<name>``."""
        return {}

    def metadata(self) -> Dict[str, Any]:
        """Plain facts that an exported policy carries, such as ``obs_table`` and ``joint_names``."""
        return {}

    def mirror(self) -> Mirrors:
        """How observations and actions look in a mirror, for policies that are symmetric: see :class:`Mirrors`."""
        raise UserError(f"{type(self).__name__} has no mirror(): write it, or train without symmetry.")

    def render(self) -> Any:
        """An image (h, w, 3) uint8 of the first environments, or None without a render mode.

        A task may take ``width``, ``height``, ``robots`` (how many to draw), ``lines`` (of text to write on it) and
        ``robot`` (which one to draw, by its index).
        """
        return None

    def viewer(self) -> Any:
        """A window on the environments: ``is_running() sync(lines, robot) pressed() close()``; None where there is
        none. ``sync`` shows the robot of this index, ``pressed`` gives the names of the keys since it was asked last.
        """
        return None

    def stage(self) -> Stage:
        """The shapes of the robots and the means to steer and push them, for a live page and for a window's keys."""
        return Stage()

    def state_dict(self) -> Dict[str, Any]:
        """All that a later, identical continuation needs: tensors and builtins only.

        Empty where that cannot be had: a continuation begins with a reset.
        """
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state_dict()`` of an environment of the same kind and size."""

    def close(self) -> None:
        """Release threads, windows and memory."""


def frames_per_second(env: TensorEnv) -> float:
    """Control steps in a second, a whole number where it is one: the speed at which pictures of each step are true."""
    rate = 1.0 / env.control_dt
    return round(rate) if abs(rate - round(rate)) < 1e-6 * rate else rate


def constructor_parameters(cls: type) -> Dict[str, inspect.Parameter]:
    """The keywords that a class takes, and those of its parents' that it passes on as ``**keywords``, by name."""
    found: Dict[str, inspect.Parameter] = {}
    for parent in cls.__mro__:
        given = inspect.signature(parent.__init__).parameters  # type: ignore[misc]
        found = {**given, **found}
        if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in given.values()):
            break
    not_by_name = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return {name: parameter for name, parameter in found.items()
            if name != "self" and parameter.kind not in not_by_name}


MEMBERS = tuple(name for name in (*TensorEnv.__annotations__, *vars(TensorEnv)) if not name.startswith("_"))


def missing_members(env: object) -> List[str]:
    """Which members of a TensorEnv `env` lacks: those that a subclass has not set or written, too. An object of any
    class may have them all."""
    unwritten = [name for name in ("reset", "step") if getattr(type(env), name, None) is getattr(TensorEnv, name)]
    return sorted({*unwritten, *(name for name in MEMBERS if not hasattr(env, name))})


def check_observation_space(env: TensorEnv, name: str) -> None:
    """Raise a UserError where the environment `name` has no group ``policy``."""
    if not isinstance(env.observation_space, spaces.Dict) or "policy" not in env.observation_space.spaces:
        raise UserError(f"{name} has the observation space {env.observation_space}: give a spaces.Dict with the group "
                        "policy.")


def plot_facts(env: TensorEnv) -> Dict[str, Any]:
    """What ``meta.json`` keeps of a task for its plots, since a plot is drawn without the task."""
    rule = env.stop_rule
    return {"panels": [list(panel) for panel in env.display.panels],
            "stop_rule": {} if rule is None else {
                key: [bound if math.isfinite(bound) else None for bound in bounds] for key, bounds in
                {**{f"eval/{key}": bounds for key, bounds in rule.ranges.items()}, **rule.training}.items()}}
