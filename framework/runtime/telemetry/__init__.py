"""Telemetry as it runs: what the loop saves becomes records, which the spool keeps until every consumer has them."""
