"""A Marathon-compatible app server for one machine: a Mesos framework of its own that speaks Marathon's v2 API."""
