"""Compare methods that paint photographs around vessel maps; used by scripts/two_stage.py."""
