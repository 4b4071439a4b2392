"""Privacy: does the synthetic set reveal its training patients?"""
