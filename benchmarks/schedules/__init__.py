"""A federation under a seeded schedule of faults: the real rules, no process, no model.

What a site learns is a digest of all that goes into it; so one bit that was lost, doubled or rolled back
anywhere changes every bit that comes after it.
"""
