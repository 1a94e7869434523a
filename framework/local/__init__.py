"""A real Apache Mesos, and what else a cluster needs, on one machine."""
