"""A training run: built, resumed, evaluated, saved."""
