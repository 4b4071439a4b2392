"""Readers of public data sets and of the library's own layout, one file each."""
