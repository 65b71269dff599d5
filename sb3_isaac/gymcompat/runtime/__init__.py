"""A prepared simulation: stepping, state tensors, viewer, the user's choices."""
