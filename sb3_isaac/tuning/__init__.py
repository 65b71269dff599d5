"""Tuning: an Optuna study of the algorithm's and the task's settings, on as many processes and machines as one has."""
