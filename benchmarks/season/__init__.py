"""Seasons of orders, routed by one policy after another: ``make sim-routing``."""
