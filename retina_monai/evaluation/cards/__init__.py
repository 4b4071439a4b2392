"""Reports behind the figures of the model cards."""
