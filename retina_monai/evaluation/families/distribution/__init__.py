"""Realism: does the set look like real photographs?"""
