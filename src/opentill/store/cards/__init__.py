"""Saved cards, and the passwords by which shoppers confirm them."""
