"""The sandbox's own card processor and bank, with a memory of their own, as real ones would have."""
