"""Marathon's v2 API, as far as masters need it: ``edge.MarathonEdge`` is ``masters.ports.Marathon``."""

from masters.marathon.edge import MarathonEdge

__all__ = ["MarathonEdge"]
