"""From messages to columns, one module a service: every field is checked on the way in."""
