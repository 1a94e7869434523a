"""What an operator writes of a tenant, read and checked: YAML -> ``TenantSpec``, or every fault at once."""
