"""Eye sets, the vessel judge and feature extractors."""
