"""Read, check and write pictures."""
