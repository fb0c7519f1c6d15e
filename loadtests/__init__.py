"""Load on a real server: scenarios as files, an open-loop generator, judges, a report.

``python -m loadtests flash_sale`` runs one; docs/load.md is the page about it.
"""
