"""Isaac Gym's enumerations, structures and small values."""
