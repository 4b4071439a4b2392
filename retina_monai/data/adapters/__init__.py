"""Public data sets and the library's own layout, one file each."""
