"""What is done to masters that are there: by commands, and by the tenants' service."""
