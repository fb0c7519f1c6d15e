"""The wire: gRPC services, the codec between messages and columns, and the table of errors.

Nothing here decides about stock. A handler reads and checks a message, hands the columns to the
application and renders what comes back.
"""
