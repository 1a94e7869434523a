"""Our scheduler against a bare loop, both on one real Mesos with hundreds of agents."""
