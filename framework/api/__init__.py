"""The HTTP API: what tenants and operators ask of the scheduler, through ``framework.ports.Control``."""
