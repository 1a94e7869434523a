"""Which offer an instance goes to and what it takes of it. Pure."""
