"""What holds for every test."""

from hypothesis import HealthCheck, settings

# Machines differ in speed and are shared, so how long an example takes says nothing about the code.
settings.register_profile("butlery", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("butlery")
