"""Export data sets for other tools."""
