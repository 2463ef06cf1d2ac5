"""Slices of the operator's own hosts, reached over SSH."""
