"""What do networks learn from the set?"""
