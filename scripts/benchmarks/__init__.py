"""The measurements of scripts/benchmark.py, one file each."""
