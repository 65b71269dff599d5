"""Go on from a trained run with another goal, in Python: `python examples/fine_tune.py RUN`; see
docs/tutorials/fine_tune.md.
"""

import sys

from sb3_isaac import RunCheckpoints, TrainingLog, load_run

SLOW = {"forward_m_s": [0.2, 0.5]}


def main(run, num_envs=256, steps=200_000):
    model, env = load_run(run, num_envs=num_envs, training=True, command=SLOW)
    log = TrainingLog()
    model.learn(steps, callback=[log, RunCheckpoints("slow")])
    env.close()
    return log.values


if __name__ == "__main__":
    main(*sys.argv[1:])
