"""Bringing runs of other tools into a store.

One file a format, which says what a tool wrote down; `fields` and `mapping` make measurements of it.
"""
