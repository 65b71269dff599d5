"""A long check, run by hand: what pruning saves. The same 20 random trials of the double pendulum, with and without.

`python tests/long_tune_pruning.py` prints the transitions of each study and its best trial. The sampler is random, so
that both studies draw the same values whatever became of the trials before.
"""

from __future__ import annotations

import tempfile

from sb3_isaac.tuning import Plan, open_study, tune


def main() -> None:
    folder, steps, drawn = tempfile.mkdtemp(prefix="pruning_"), {}, {}
    for pruner in ("none", "median", "hyperband"):
        plan = Plan(env="IsaacDoublePendulum-v0", num_envs=64, hyperparams={"n_minibatches": 4}, n_timesteps=16_384,
                    n_evaluations=8, eval_episodes=16, max_falls=1.0, objective="reward", n_trials=20,
                    sampler="random", pruner=pruner, study_name=pruner, final_top=0, log_folder=folder)
        tune(plan)
        study = open_study(plan)
        steps[pruner] = sum(t.user_attrs["steps"] for t in study.trials)
        drawn[pruner] = [t.params for t in study.trials]
        print(f"{pruner}: {steps[pruner]:,} transitions, {steps[pruner] / steps['none']:.2f} of those without pruning; "
              f"best {study.best_value:.1f}, trial {study.best_trial.number}", flush=True)
    assert drawn["none"] == drawn["median"] == drawn["hyperband"], "not the same trials"
    assert steps["median"] < steps["none"] and steps["hyperband"] < steps["none"]


if __name__ == "__main__":
    main()
