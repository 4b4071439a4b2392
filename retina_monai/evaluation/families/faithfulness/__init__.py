"""Faithfulness: do the photographs show what their masks say?"""
