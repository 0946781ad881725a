"""The model package: FORMAT.md in code. The contract with the runtime; imports neither torch nor anything above it."""
