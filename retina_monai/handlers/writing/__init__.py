"""Handlers that write what a network makes as a data set."""
