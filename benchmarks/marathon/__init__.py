"""The Marathon-compatible server with thousands of apps: launched from nothing, asked, scaled and rolled."""
