"""Builds from the queues of many masters, served by agents on a real Mesos: how soon, how many, and what is left."""
