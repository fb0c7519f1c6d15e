"""The client whose callers wait."""
