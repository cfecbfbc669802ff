"""Rehearsing a sweep on a simulated cluster: how long, what it costs, what it would measure."""
