"""Do photographs show what their masks say?"""
