"""Races: contested orders on a running sandbox, told from the outside, over HTTP alone."""
