"""What measures: sets of eyes, judges and feature extractors."""
