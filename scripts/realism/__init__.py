"""What `scripts/phantom_realism.py` is made of."""
