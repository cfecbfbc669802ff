"""Optimizers, one a file: each a function that gives an optax transformation of gradients."""
