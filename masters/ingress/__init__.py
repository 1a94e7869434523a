"""The one public address of all masters: HAProxy, whose routes follow them, and who holds requests while they wake."""
