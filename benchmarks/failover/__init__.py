"""How long builds go without a scheduler when the one that leads is killed, and what becomes of them."""
