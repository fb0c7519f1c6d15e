"""How much the server takes on at once, and from whom: limits, quotas, brown-out. Knows no wire."""
