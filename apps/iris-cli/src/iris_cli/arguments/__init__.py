"""What can be typed: nouns, verbs, options and their help.

These modules import only the standard library and little of that: a verb's
help has a budget (benchmark 7), and man pages are made from the parsers.
"""
