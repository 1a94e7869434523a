"""Elasticsearch, 7.17 and later: the history of builds, written in bulk and asked."""
