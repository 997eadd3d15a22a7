"""Measurements of the tasks beyond coding."""
