"""The core of the Marathon-compatible server."""
