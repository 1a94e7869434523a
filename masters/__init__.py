"""Tenants' masters: from a tenant's YAML to a Marathon app, as a plan and its application.

Nothing stands here yet but the name; tenants have builds already, through ``framework``.
"""
