"""Convert folders to datalists: layouts, splits, patients, and the manifest of a generated set."""
