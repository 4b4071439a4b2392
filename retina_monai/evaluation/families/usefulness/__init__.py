"""Usefulness: does a network trained on the set work on real eyes?"""
