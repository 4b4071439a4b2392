"""Procedurally generated eyes with exact ground truth."""
