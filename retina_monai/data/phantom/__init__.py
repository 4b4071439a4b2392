"""Procedural eyes with exact ground truth."""
