"""Handlers that write network outputs as data sets."""
