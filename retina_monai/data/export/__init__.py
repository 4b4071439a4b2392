"""Data sets prepared for other tools."""
