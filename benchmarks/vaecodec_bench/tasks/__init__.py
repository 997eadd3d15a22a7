"""Measurements of what the networks do beyond coding."""
