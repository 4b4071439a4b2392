"""Families of measurements, one per question of the report."""
