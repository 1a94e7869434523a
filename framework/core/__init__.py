"""Decisions only: ``step(state, event, now) -> [effects]``. No clock, chance, thread, log or socket."""
