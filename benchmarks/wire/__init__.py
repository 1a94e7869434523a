"""Our driver and pymesos' against one and the same server: the CPU time that each takes."""
