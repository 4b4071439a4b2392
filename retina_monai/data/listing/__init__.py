"""From a folder to a datalist: layouts, splits, patients, and the manifest of a generated set."""
