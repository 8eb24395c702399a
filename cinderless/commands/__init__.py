"""One module per command; each has a click command of its name. Heavy imports are inside the functions."""
