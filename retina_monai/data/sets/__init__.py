"""Data sets that load and cache eyes for training and inference."""
