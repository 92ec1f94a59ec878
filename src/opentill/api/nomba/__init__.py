"""Nomba's surface: one module for each subject of the contract."""
