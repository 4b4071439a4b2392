"""Does the set look like a real one?"""
