"""The modules that Isaac Gym's programs import."""
