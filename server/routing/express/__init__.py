"""The usual order planned without a Python object for each of its parts.

`server.routing.assembly`, `planning` and `server.transport.render_plans` do everything there is;
this does the same for what nearly all orders are, from the request's bytes to the reply's, and
leaves anything else to them. Answers are the same to the byte (a test holds that).
"""
