"""Tenants' masters by the thousand, and what users of their one address notice while some of them move."""
