"""The demo: three tenants' builds of one repository on a real Mesos, shown as they run."""
