"""Read, check and write images."""
