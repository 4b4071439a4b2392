"""The table of wrong input: what each entry point says to it, or makes of it."""
