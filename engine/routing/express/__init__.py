"""One order from a problem's arrays to a priced plan, with no Python object in between."""
