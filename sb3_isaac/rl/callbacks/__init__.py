"""Callbacks for SB3's ``learn()``, each of use on its own with stock PPO on an IsaacVecEnv.

An iteration is one rollout and one update; of off-policy algorithms, as many as give 10,000 transitions. ``save_freq``
and the like of SB3 count calls of ``step``; these count iterations, so that "every 100" means every
100 × n_steps × num_envs transitions of an on-policy algorithm.
"""
