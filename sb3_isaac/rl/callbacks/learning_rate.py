"""A learning rate that follows how far an update moved the policy."""

from __future__ import annotations

from typing import Any, List, Optional

from stable_baselines3.common.callbacks import BaseCallback, CallbackList

from sb3_isaac.contract.errors import UserError


def adapted_rate(rate: float, kl: float, desired_kl: float, low: float = 1e-5, high: float = 1e-2) -> float:
    """The learning rate after an update that moved the policy by `kl` nat, within [low, high].

    Above twice `desired_kl` it is divided by 1.5, below half of it multiplied by 1.5: the rule of rsl_rl and of
    Schulman's adaptive-KL PPO (arXiv 1707.06347), applied once an iteration.
    """
    if kl > 2.0 * desired_kl:
        return max(low, rate / 1.5)
    return min(high, rate * 1.5) if kl < 0.5 * desired_kl else rate


def target_kl(desired_kl: float) -> float:
    """The ``target_kl`` beside a `desired_kl`: SB3 ends an update where a minibatch finds 1.5 of it.

    The rate is adapted after an update. A policy that has learnt its task moves little, so that the rate rises to its
    bound, until one update of all its minibatches takes the policy apart (a KL of hundreds); ended at ten times
    `desired_kl`, it costs a part of one update, and the rate falls.
    """
    return 10.0 * desired_kl / 1.5


class AdaptiveLearningRate(BaseCallback):
    """Steer the learning rate so that an update moves the policy by about `desired_kl` nat: :func:`adapted_rate`.

    The rate is the model's ``learning_rate``, so a saved model carries it. A model without a ``target_kl`` gets one,
    :func:`target_kl`, which ends an update that goes too far.

    :param desired_kl: above 0; locomotion commonly uses 0.01.
    :param low, high: bounds of the rate.
    """

    def __init__(self, desired_kl: float = 0.01, low: float = 1e-5, high: float = 1e-2) -> None:
        super().__init__()
        if not desired_kl > 0 or not 0 < low <= high:
            raise UserError(f"desired_kl {desired_kl}, low {low} and high {high} must be above 0 with low <= high.")
        self.desired_kl, self.low, self.high = desired_kl, low, high
        self._answered: Optional[int] = None

    def _on_training_start(self) -> None:
        self._check_alone()
        # What was updated before has been answered: a checkpoint is saved after that, and brings the update's log.
        self._answered = getattr(self.model, "_n_updates", None)
        rate = self.model.learning_rate
        if callable(rate):
            if rate(1.0) != rate(0.0):
                raise UserError("AdaptiveLearningRate needs a number as learning_rate to start from: drop the "
                                "schedule.")
            self.model.learning_rate = rate(1.0)  # rl-zoo makes a constant schedule of a number
        model: Any = self.model
        if getattr(model, "target_kl", 0.0) is None:
            model.target_kl = target_kl(self.desired_kl)

    def _check_alone(self) -> None:
        """Refuse another one that steers the same rate."""
        if getattr(self.model, "desired_kl", None) is not None:
            raise UserError("both PPO's desired_kl and an AdaptiveLearningRate callback steer the learning rate: "
                            "leave one of them out.")
        count = len(_adaptive(self.locals.get("callback")))
        if count > 1:
            raise UserError(f"{count} AdaptiveLearningRate callbacks steer the learning rate: leave one of them in "
                            "(desired_kl in a configuration makes one).")

    def _on_rollout_start(self) -> None:
        self._adapt()

    def _on_training_end(self) -> None:
        self._adapt()

    def _adapt(self) -> None:
        """Answer the last update, once."""
        kl = self.logger.name_to_value.get("train/approx_kl")
        updates = getattr(self.model, "_n_updates", None)
        if kl is None or updates == self._answered:
            return
        self._answered = updates
        rate = float(self.model.learning_rate)  # type: ignore[arg-type]
        self.model.learning_rate = adapted_rate(rate, kl, self.desired_kl, self.low, self.high)
        self.model._setup_lr_schedule()

    def _on_step(self) -> bool:
        return True


def _adaptive(callback: object) -> List[AdaptiveLearningRate]:
    """All AdaptiveLearningRate of a callback and of the lists in it."""
    if isinstance(callback, CallbackList):
        return [found for part in callback.callbacks for found in _adaptive(part)]
    return [callback] if isinstance(callback, AdaptiveLearningRate) else []
