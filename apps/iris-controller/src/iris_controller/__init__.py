"""The controller: decides what runs where, and how many slices there are."""

__version__ = "0.1.0"
