"""What the client hands out and takes: frozen dataclasses in the contract's own words."""
