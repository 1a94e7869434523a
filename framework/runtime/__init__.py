"""The loop that feeds the core and performs its effects, and what keeps it running."""
