"""PPO by tensors: rollout buffer, loss, update."""
