"""Does the set give its training patients away?"""
