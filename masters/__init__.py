"""Tenants' masters: from a tenant's YAML to a Marathon app, as a plan and its application; and their one address."""
