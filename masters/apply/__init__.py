"""Making it so: what is desired and observed, the changes performed side by side, each until it is healthy."""
