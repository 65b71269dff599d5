"""What every layer relies on: TensorEnv, errors, files, ids, rotations. It knows nothing of what stands above it."""
