"""Training with Stable-Baselines3: what is seen of the environments is a TensorEnv, never a task or an engine."""
