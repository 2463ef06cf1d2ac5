"""The command line of Iris, for operators and researchers.

Nothing is imported here: `iris --help` has to be as fast as the interpreter.
"""

__version__ = "0.1.0"
