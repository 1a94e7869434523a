"""Decisions only, as in ``framework.core``: what is to run, what runs, and what is to be done about the difference."""
