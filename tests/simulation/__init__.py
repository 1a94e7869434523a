"""Whole histories of the core, with every edge simulated."""
