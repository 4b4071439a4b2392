"""Parts of `scripts/phantom_realism.py`."""
