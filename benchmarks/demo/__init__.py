"""The demo: three tenants, their masters, and their builds of one repository, on a real Mesos, shown as they run."""

BUILDS = 60
MIN_BUILDS = 9  # with fewer, not every tenant would have a build that passes
MAX_BUILDS = 300
