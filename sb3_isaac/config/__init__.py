"""Configuration: rl-zoo's and Isaac Lab's YAML as one frozen `TrainConfig`; strings are parsed, never evaluated."""

from sb3_isaac.config.grammar import (
    ACTIVATIONS,
    is_schedule,
    parse_key_values,
    parse_schedule,
)
from sb3_isaac.config.load import dump_config, load_config, parse_options
from sb3_isaac.config.schema import TrainConfig

__all__ = [
    "ACTIVATIONS",
    "TrainConfig",
    "dump_config",
    "is_schedule",
    "load_config",
    "parse_key_values",
    "parse_options",
    "parse_schedule",
]
