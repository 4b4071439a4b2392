"""The questions that a report answers."""
