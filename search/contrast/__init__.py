"""Fronts of several studies side by side: which is further, where, how surely, and in which knobs they agree."""
