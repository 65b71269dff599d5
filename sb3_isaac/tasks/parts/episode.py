"""The episode loop of every task: act, simulate, terminate, reward, observe, restart, observe again."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

import numpy as np
import torch
from gymnasium import spaces

from sb3_isaac.contract.device import known_empty
from sb3_isaac.contract.errors import UserError, mapping, number_above_zero, truth, unknown, whole_number
from sb3_isaac.contract.mirror import Mirror, Mirrors
from sb3_isaac.contract.recorded import Recorded
from sb3_isaac.contract.recorder import Recorder
from sb3_isaac.contract.stage import Stage
from sb3_isaac.contract.tensor_env import Obs, Step, TensorEnv
from sb3_isaac.tasks.parts.command import Axis, Commands
from sb3_isaac.tasks.parts.feature import StepFeatures, step_features_in
from sb3_isaac.tasks.parts.memory import Measure, Memory, begin_anew, remember, restore
from sb3_isaac.tasks.parts.mirror import EVERYWHERE, Kind, command_mirror, term_mirror
from sb3_isaac.tasks.parts.stage import TaskStage
from sb3_isaac.tasks.parts.terms import (
    Function,
    Term,
    checked,
    reward_terms,
    total_reward,
    weights_of,
    with_functions,
    with_known_terms,
)


class EpisodicTask(TensorEnv):
    """A task made of tables over pure functions of its features.

    A subclass gives the tables and writes the methods that say what is peculiar to it: ``features act measures
    place``.

    ============ ========================================= =============================================
    table        entries                                   user's option
    ============ ========================================= =============================================
    REWARD       term -> Term(weight, function)            reward={"energy": -1e-3, "jump": (0.3, fn)}
    OBSERVATION  group -> {name: function}                 observation={"policy": {"height": fn}}
    TERMINATION  name -> function, (N,) bool               termination={"flipped": fn, "tilt": None}
    COMMAND      axis -> Axis(low, high)                   command={"forward_m_s": [0, 1]}
    MEMORY       name -> Memory(shape, keep, start)        none: a part of the task
    ============ ========================================= =============================================

    Functions may be given by name, such as ``my_tasks.jump``, where ``--gym-packages my_tasks`` allowed it.
    """

    REWARD: Mapping[str, Term] = {}
    OBSERVATION: Mapping[str, Mapping[str, Function]] = {}
    TERMINATION: Mapping[str, Function] = {}
    COMMAND: Mapping[str, Axis] = {}
    COMMAND_SETTINGS: Mapping[str, Any] = {}
    """How commands are drawn, see :class:`~sb3_isaac.tasks.parts.command.Commands`."""
    MEMORY: Mapping[str, Memory] = {}
    MIRROR: Mapping[str, Kind] = {}
    """Observation -> its kind of mirror image, see :mod:`~sb3_isaac.tasks.parts.mirror`."""
    sim: Any = None
    """Its :class:`~sb3_isaac.sim.Simulator`, where it has one."""
    recorder: Optional[Recorder] = None
    """Records its steps on a GPU, so that they are repeated without Python; None: they are not recorded."""
    LEAST_REWARD: Optional[float] = None
    """A step's reward is not below this."""
    SOFT_OPTIONS: Tuple[str, ...] = ("reward", "command")
    _STATE: Tuple[str, ...] = ()
    """Tensors of the subclass, besides its memory, that a continuation needs."""

    # ---- what a subclass writes

    def features(self) -> Any:
        """The features of this moment, new at each call."""
        raise NotImplementedError

    def features_again(self, features: Any) -> Any:
        """The features of the same state as `features`, once what it was remembered for has changed."""
        return self.features()

    def act(self, actions: torch.Tensor) -> torch.Tensor:
        """Apply actions (N, A) and simulate one control step; which worlds diverged, (N,) bool."""
        raise NotImplementedError

    def measures(self, features: Any, terminated: torch.Tensor) -> Mapping[str, Measure]:
        """What reports, logs and displays are made of, {name: (N, ...)}, besides the rewards.

        In place of a tensor there may be a function without arguments that gives it: it is called where the measure is
        asked for (:attr:`TensorEnv.measured`), before any restart.
        """
        raise NotImplementedError

    def followed(self, features: Any) -> Optional[torch.Tensor]:
        """How well commands are followed, where ranges of commands widen by it: (N,), its mean in [0, 1]. Where some do
        not count, it is 0 for them, and so much more for the others that the mean is theirs."""
        return None

    def widen(self, followed: torch.Tensor) -> None:
        """Widen what widens as commands are `followed`, see :meth:`followed`."""
        self._commands.widened(self.reach, followed, self.command, self.control_dt)

    def tell(self, group: str, obs: torch.Tensor) -> None:
        """Make of true observations (N, k), in place, what the sensors of a group tell: the truth, unless a task has
        worse ones."""

    def place(self, mask: torch.Tensor) -> None:
        """Put the environments of `mask` (N,) bool into a start state."""
        raise NotImplementedError

    def timed_out(self, features: Any) -> torch.Tensor:
        """Which episodes end here without a termination, (N,) bool: by time, unless the task adds to it."""
        return self.steps >= self.max_steps

    def learnt(self, features: Any, terminated: torch.Tensor, truncated: torch.Tensor) -> None:
        """What this step changes for episodes to come, before the next begin: curricula."""

    def check_rewards(self, rewards: Mapping[str, Term]) -> None:
        """Raise a UserError where one of these terms cannot serve here."""

    # ---- construction

    def setup(self, num_envs: int, device: torch.device, *, seed: Optional[int], episode_length_s: float,
              stagger: bool, render_mode: Optional[str]) -> None:
        """What every task's constructor does first; ``control_dt`` is set before."""
        if render_mode not in (None, "rgb_array"):
            raise unknown("render_mode", render_mode, ("rgb_array", "None"))
        self.num_envs, self.device, self.render_mode = num_envs, device, render_mode
        self.max_steps = round(number_above_zero("episode_length_s", episode_length_s, most=86_400.0) / self.control_dt)
        if self.max_steps < 1:
            raise UserError(f"episode_length_s is {episode_length_s}: give at least one control step, "
                            f"{self.control_dt} s.")
        self.stagger = truth("stagger", stagger)
        self.steps = torch.zeros(num_envs, dtype=torch.long, device=device)
        """Control steps (N,) since the episode began (a staggered first episode begins in its midst)."""
        self._started, self._advanced = False, Recorded(self._advance, self.recorder, owner=self, copied=1)
        for name, memory in self.MEMORY.items():
            setattr(self, name, self.zeros(*memory.shape(self)))
        self._generator = torch.Generator(device=device)
        if seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(whole_number("seed", seed, least=0))

    def set_tables(self, *, reward: Optional[Mapping[str, Any]] = None, command: Optional[Mapping[str, Any]] = None,
                   observation: Optional[Mapping[str, Any]] = None, termination: Optional[Mapping[str, Any]] = None,
                   groups: Tuple[str, ...] = ("policy",)) -> None:
        """The tables with the user's changes, and the spaces that follow; features must be there already."""
        self._commands = Commands(self.COMMAND, command, self.COMMAND_SETTINGS)
        self.reach = self._commands.first_reach(self.device)
        """How far the ends of the commands' ranges have widened, (axes, 2): from 0, the first ones, to 1."""
        self.command_columns = {name: i for i, name in enumerate(self._commands.axes)}
        self.command = self.zeros(len(self._commands.axes))
        """What each environment is told, (N, C)."""
        given = mapping("observation", observation)
        for group in given:
            if group not in groups:
                raise unknown("observation group", group, groups)
        self._observed = {group: with_functions(self.OBSERVATION[group], given.get(group), "observation")
                          for group in groups}
        self._terminations = with_functions(self.TERMINATION, termination, "termination")
        for group, table in self._observed.items():
            if not table:
                raise UserError(f"observation group {group!r} is empty: leave at least one observation in it.")
        self._known_terms: Dict[str, Term] = {}
        self.change_options(reward=reward, **({} if command is None else {"command": command}))
        self._made_with = self.options()
        features = self.features()
        for name, ends in self._terminations.items():
            checked(ends, features, self.num_envs, f"termination {name!r}", boolean=True)
        observed = self.features()
        widths = {group: {name: self._width(of, observed, name) for name, of in table.items()}
                  for group, table in self._observed.items()}
        self._step_features = step_features_in(observed)
        self._widths = widths
        self.obs_table: Dict[str, int] = widths["policy"]
        """Name -> width of what the group ``policy`` is joined from, in order."""
        self.observation_space = spaces.Dict({group: spaces.Box(-np.inf, np.inf, (sum(table.values()),), np.float32)
                                              for group, table in widths.items()})
        self._obs, self._final_obs = ({group: self.zeros(sum(table.values())) for group, table in widths.items()}
                                      for _ in range(2))

    def _width(self, of: Function, features: Any, name: str) -> int:
        value = checked(of, features, self.num_envs, f"observation {name!r}", most_dims=2)
        return 1 if value.dim() == 1 else value.shape[1]

    def zeros(self, *shape: int) -> torch.Tensor:
        """Zeros (N, *shape), stored component by component as a simulator's state is."""
        return torch.zeros(*shape, self.num_envs, device=self.device).movedim(-1, 0)

    def uniform(self, out: torch.Tensor) -> torch.Tensor:
        """`out` (N, k), filled with numbers uniform in [−1, 1), in steps of 2⁻¹⁵.

        Four numbers of 16 bits come of each random integer of 64, which takes a third of the time of as many floats.
        """
        count = out.numel()
        words = torch.empty(-(-count // 4), dtype=torch.int64, device=self.device)
        words.random_(-2**63, None, generator=self._generator)
        out.t().copy_(words.view(torch.int16)[:count].view(out.shape[1], out.shape[0]))
        return out.mul_(2.0**-15)

    def change_options(self, **options: Any) -> None:
        """See :meth:`TensorEnv.change_options`. Command axes stay those it was made with."""
        for name in options:
            if name not in self.SOFT_OPTIONS:
                raise unknown("option", name, self.SOFT_OPTIONS, where="change_options")
        command = options.get("command")
        rewards = reward_terms(self.REWARD, options.get("reward"), self._known_terms)
        commands = Commands({**self.COMMAND, **self._commands.axes, **self.COMMAND}, command, self.COMMAND_SETTINGS)
        if len(commands.axes) != self.command.shape[1]:
            raise UserError("a command axis cannot be added to a task that is made already: give it at the start.")
        self.check_rewards(rewards)
        features = self.features()
        for name, term in rewards.items():
            checked(term.value, features, self.num_envs, f"reward term {name!r}")
        self.rewards, self._commands = rewards, commands  # all of it or, where something is wrong, nothing
        self._known_terms.update(rewards)
        self._weights = weights_of(rewards, self.device)
        self.reach.copy_(commands.first_reach(self.device))

    def options(self) -> Dict[str, Dict[str, Any]]:
        """See :meth:`TensorEnv.options`."""
        in_effect = {"reward": {name: term.weight for name, term in self.rewards.items()},
                     "command": self._commands.options()}
        return {name: in_effect[name] for name in self.SOFT_OPTIONS}

    def steer(self, values: Sequence[float]) -> None:
        """Tell all environments this command, a number for each axis, from now on and in episodes to come."""
        self._commands.fix(values)
        self._advanced.forget()
        self.command.copy_(torch.tensor(list(values), dtype=torch.float32, device=self.device).expand_as(self.command))

    def stage(self) -> Stage:
        """See :meth:`TensorEnv.stage`."""
        return TaskStage(self, self.sim)

    def mirror(self) -> Mirrors:
        """See :meth:`TensorEnv.mirror`. Observations of the user's own say it by their function's attribute."""
        kinds = {**EVERYWHERE, "command": command_mirror(self._commands.axes), **self.mirror_kinds()}
        observation = {}
        for group in self._observed:
            parts = [term_mirror(self._kind(group, name), width, f"observation {name!r}", kinds)
                     for name, width in self._widths[group].items()]
            observation[group] = Mirror.joined(parts)
        return Mirrors(observation, term_mirror("action", sum(self.action_space.shape or ()), "the action", kinds))

    def mirror_kinds(self) -> Dict[str, Mirror]:
        """What the task adds to the kinds of mirror images; ``action`` is that of the actions."""
        raise UserError(f"{type(self).__name__} has no mirror_kinds(): write it, or train without symmetry.")

    def _kind(self, group: str, name: str) -> Optional[Kind]:
        function = self._observed[group][name]
        own = self.OBSERVATION[group].get(name) is function
        return self.MIRROR.get(name) if own else getattr(function, "mirror", None)

    # ---- the loop

    def reset(self, seed: Optional[int] = None) -> Obs:
        """See :meth:`TensorEnv.reset`."""
        if seed is not None:  # what follows is the same each time: ranges of commands begin anew too
            self._generator.manual_seed(seed)
            self.reach.copy_(self._commands.first_reach(self.device))
        self._started = False
        return self.restart(torch.ones(self.num_envs, dtype=torch.bool, device=self.device))

    def step(self, actions: torch.Tensor) -> Step:
        """See :meth:`TensorEnv.step`."""
        shape = (self.num_envs, *(self.action_space.shape or ()))
        if actions.shape != shape:
            raise UserError(f"actions have shape {tuple(actions.shape)}: give {shape}.")
        return Step(*self._advanced(actions))  # a new one, so that it can be told from that of another step

    def _advance(self, actions: torch.Tensor) -> Step:
        diverged = self.act(actions)
        self.steps += 1
        features = self.features()
        terminated = diverged
        for ends in self._terminations.values():
            terminated = terminated | ends(features)
        truncated = self.timed_out(features) & ~terminated
        over = terminated | truncated
        terms, reward = total_reward(features, self.rewards, self._weights, diverged, self.LEAST_REWARD)
        measures = self._measured(features, terminated)
        none_over = known_empty(over)
        of_step = StepFeatures(self._step_features, features)
        self._remember(features)
        if not none_over:
            self._observe(of_step.give(self.features_again(features)), self._final_obs, keep=diverged)
        followed = self.followed(features)
        if followed is not None:
            self.widen(followed)
        self.learnt(features, terminated, truncated)
        self._tell(over | self._commands.due(self.steps, self.control_dt, self._generator), over)
        placed = self._begin(over)
        again = self.features_again(features if placed is None else placed)
        self._observe(of_step.give(again, None if placed is None else over), self._obs)
        if none_over:
            for group, value in self._final_obs.items():
                value.copy_(self._obs[group])
        return Step(self._obs, reward, terminated, truncated, self._final_obs,
                    {**terms, "bad_world": diverged, **measures})

    def _measured(self, features: Any, terminated: torch.Tensor) -> Dict[str, torch.Tensor]:
        """Those of the measures that are asked for, as copies: a feature may be a view of the simulation's state, which
        a restart changes."""
        measures = self.measures(features, terminated)
        names = measures if self.measured is None else [name for name in measures if name in self.measured]
        values = {name: measures[name] for name in names}
        return {name: (value() if callable(value) else value).clone() for name, value in values.items()}

    def restart(self, mask: torch.Tensor) -> Obs:
        """See :meth:`TensorEnv.restart`."""
        self._tell(mask, mask)
        placed = self._begin(mask)
        return self._observe(self.features() if placed is None else self.features_again(placed), self._obs)

    def observe(self) -> Obs:
        """See :meth:`TensorEnv.observe`."""
        return self._obs

    @property
    def axes(self) -> Mapping[str, Axis]:
        """The axes of ``command``, in order."""
        return self._commands.axes

    def tell_now(self, command: torch.Tensor) -> Obs:
        """Tell all environments `command` (N, C), and observe: for a task above this one, made with a ``resample_s``
        that leaves it."""
        self.command.copy_(command)
        return self._observe(self.features(), self._obs)

    def _tell(self, mask: torch.Tensor, begins: torch.Tensor) -> None:
        """Tell the environments of `mask` anew, where an episode begins as at its step 0."""
        self._commands.draw(self.command, mask, self.steps.masked_fill(begins, 0), self.control_dt, self._generator,
                            self.reach)

    def _begin(self, mask: torch.Tensor) -> Optional[Any]:
        """Start a new episode in the environments of `mask`; the features of the state then, None where it is the same
        as before."""
        self.place(mask)
        self.steps.masked_fill_(mask, 0)
        if not self._started and self.stagger:
            self.steps.random_(0, self.max_steps, generator=self._generator)
        self._started = True
        if known_empty(mask):
            return None
        features = self.features()
        begin_anew(self, self.MEMORY, mask, features)
        return features

    def _remember(self, features: Any) -> None:
        """Keep of this step what the features of the next need."""
        remember(self, self.MEMORY, features)

    def _observe(self, features: Any, out: Obs, keep: Optional[torch.Tensor] = None) -> Obs:
        """Write the observations into `out`; the rows of `keep` get the last good ones."""
        for group, table in self._observed.items():
            parts = [of(features) for of in table.values()]
            # Joined component by component, as parts and observations are stored: several times as fast as by rows.
            torch.cat([part.t() if part.dim() == 2 else part[None] for part in parts], out=out[group].t())
            self.tell(group, out[group])
            if keep is not None and not known_empty(keep):
                torch.where(keep[:, None], self._obs[group], out[group], out=out[group])
        return out

    # ---- continuation

    def state_dict(self) -> Dict[str, Any]:
        """See :meth:`TensorEnv.state_dict`. Options are in it where they were changed after the task was made."""
        changed = {} if self.options() == self._made_with else {"options": self.options()}
        return {**changed, "task": {name: getattr(self, name).clone() for name in self._names()},
                "obs": {group: value.clone() for group, value in self._obs.items()},
                "started": self._started, "generator": self._generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See :meth:`TensorEnv.load_state_dict`."""
        options = state.get("options", self._made_with)
        if options != self.options():
            self.change_options(**with_known_terms(options, self._known_terms))
        saved = state["task"]
        added = {name: memory for name, memory in self.MEMORY.items() if name not in saved}  # since it was saved
        for name in self._names():
            if name not in added:
                restore(getattr(self, name), saved.get(name), name)
        if added:
            begin_anew(self, added, torch.ones_like(self.steps, dtype=torch.bool), self.features())
        for group, value in self._obs.items():
            restore(value, state["obs"].get(group), f"observation group {group!r}")
        self._started = state["started"]
        self._generator.set_state(state["generator"].cpu())
        self._advanced.forget()

    def _names(self) -> Tuple[str, ...]:
        return ("command", "steps", "reach", *self.MEMORY, *self._STATE)
