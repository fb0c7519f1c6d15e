"""The Holdfast server: transport, application and journal around the engine.

Calls flow one way: transport to application, application to engine and to
journal. No room imports from the one that calls it.
"""
