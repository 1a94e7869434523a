"""The tree of groups: looked up, changed, settled and planned from one to the next. Pure."""
