"""Telemetry with real parts of others."""
