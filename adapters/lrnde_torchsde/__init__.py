"""The adapter of torchsde."""
