"""The figures of model cards."""
