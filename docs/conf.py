"""Sphinx settings. The pages load nothing from elsewhere."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import framework

project = "Butlery"
copyright = "the Butlery authors"  # noqa: A001 Sphinx's own name
version = release = framework.__version__

extensions = ["commands_reference", "settings_reference", "telemetry_reference"]
exclude_patterns = ["_build"]
nitpicky = True
smartquotes = False  # -- begins an option here
html_theme = "furo"
html_title = f"Butlery {release}"
html_copy_source = False
