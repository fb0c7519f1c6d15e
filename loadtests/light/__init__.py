"""A light gRPC transport for generators: what grpcio's channel does, for a fraction of the time.

On two cores grpcio's client costs as much as the server it calls, so it could never offer several
times of what that server can take. This one speaks just enough HTTP/2 for unary calls without TLS
on asyncio. It stands below the client library: all that the library does for a call (request ids,
deadlines, throttle, retry budget, pushback, reading errors) is the same code on both transports.
"""
