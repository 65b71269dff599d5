"""The ways in: a TensorEnv as SB3's VecEnv and VecNormalize, and as Gymnasium's environments."""
