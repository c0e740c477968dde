"""Settings in, run directory out: everything that trains a model trains it here."""
