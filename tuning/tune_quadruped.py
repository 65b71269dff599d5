"""A study of one's own, to copy: the same from Python, where settings and spaces may be made by a program.

`python tuning/tune_quadruped.py` on as many machines as there are, each with the same storage.
"""

from pathlib import Path

from sb3_isaac.tuning import Plan, open_study, tune

PLAN = Plan(
    env="IsaacQuadrupedFlat-v0",
    algo="ppo",
    space=str(Path(__file__).with_name("quadruped.yml")),
    n_timesteps=3_000_000,  # of a trial at most; it ends earlier where the stop rule is met or the pruner says so
    n_evaluations=10,
    max_total_trials=60,  # of all machines together
    n_jobs=2,  # processes on this machine
    study_name="quadruped",
    storage=None,  # a journal file in the study's folder; for many machines postgresql+psycopg://user@host/database
)

if __name__ == "__main__":  # worker processes import this file
    folder = tune(PLAN)
    best = open_study(PLAN).best_trial
    print(f"trial {best.number}: {best.params}")
    print(f"sb3-isaac train -conf {folder / 'best.yml'}")
