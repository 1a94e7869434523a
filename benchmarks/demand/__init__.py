"""``butlery bench demand``: how much masters can tell the scheduler, on one core, and how soon that is taken."""
