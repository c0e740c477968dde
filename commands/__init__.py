"""The commands of cli.py: each parses, calls one function of a room below and prints; heavy imports wait inside it."""
