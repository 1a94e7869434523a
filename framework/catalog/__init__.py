"""The catalogue of templates: what agents are made of, which of them serves a label, and what a job may change."""
