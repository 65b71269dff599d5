"""What SB3's callbacks find in ``self.locals``."""

from __future__ import annotations

from collections import UserDict
from typing import Any, Dict, List

from stable_baselines3.common.callbacks import BaseCallback, CallbackList

from sb3_isaac.contract.errors import UserError
from sb3_isaac.contract.tensor_env import Step
from sb3_isaac.envs.vec_env import unwrap
from sb3_isaac.rl.algo.host_view import Lazy


class StepLocals(UserDict):
    """A dict of a step's variables in which :class:`Lazy` values are made when they are read.

    A plain dict that is made of it or updated by it holds the values themselves.
    """

    def __getitem__(self, key: str) -> Any:
        value = self.data[key]
        return value.get() if isinstance(value, Lazy) else value

    def update(self, other: Any = (), /, **named: Any) -> None:
        """As dict's; what is lazy in another StepLocals stays so."""
        self.data.update(other.data if isinstance(other, StepLocals) else other, **named)


class WithStepLocals(CallbackList):
    """The callback of `model` that SB3's ``learn`` calls: the user's, with a :class:`StepLocals` as its ``locals``."""

    def __init__(self, callback: BaseCallback, model: Any) -> None:
        super().__init__([callback])
        self.model = model

    def on_training_start(self, locals_: Dict[str, Any], globals_: Dict[str, Any]) -> None:
        """See SB3; all callbacks share the ``locals`` of the first."""
        super().on_training_start(self._of(locals_), globals_)

    def update_locals(self, locals_: Dict[str, Any]) -> None:
        """See SB3."""
        super().update_locals(self._of(locals_))

    def _of(self, locals_: Dict[str, Any]) -> Any:
        """`locals_` as SB3's users know them, where ``callback`` is their own."""
        return StepLocals(locals_, callback=self.callbacks[0])


def infos_of(env: Any, step: Step) -> Lazy:
    """SB3's list of a dict for each environment, of the `step` that `env` has just made."""
    inner = unwrap(env)
    of = inner.last_step

    def make() -> List[Dict[str, Any]]:
        if inner.last_step is not of:
            raise UserError("a callback looks at the infos of a step after another has stepped or reset the training "
                            "environment: let it come before that one, or evaluate on an environment of its own.")
        return inner.infos(step)

    return Lazy(make)
