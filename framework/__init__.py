"""Butlery: one Apache Mesos framework for all the Jenkins of a company."""

__version__ = "0.1.0"
