"""Many runs: a grid of settings times seeds, each run in a process of its own, and what they came to."""
