# syntax=docker/dockerfile:1

# The server and the command line in one image. Nothing secret goes in: TLS keys
# are mounted, settings come as HOLDFAST_* variables (see `holdfast serve --help`).
#
#   docker build -t holdfast .
#   docker run --rm -p 127.0.0.1:7420:7420 -v holdfast-data:/var/lib/holdfast \
#     -e HOLDFAST_LISTEN=0.0.0.0:7420 -e HOLDFAST_INSECURE=true holdfast

FROM python:3.13-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /source

# Dependencies first: this layer is rebuilt only when a lock changes.
COPY deploy/build.lock deploy/runtime.lock deploy/
RUN python -m venv /opt/build \
 && python -m venv --without-pip /opt/holdfast \
 && /opt/build/bin/pip install --require-hashes -r deploy/build.lock \
 && /opt/build/bin/pip --python /opt/holdfast/bin/python install --require-hashes -r deploy/runtime.lock

# The wheel writes its own stubs from proto/.
COPY . .
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
 && /opt/build/bin/pip --python /opt/holdfast/bin/python install --no-deps --no-index dist/*.whl

# Kernels are compiled here, so a container starts fast. numba keeps them by the
# time stamp of their source, and a layer keeps whole seconds only: hence touch.
# On another kind of processor than the builder's they compile once more, at the
# first start, into the same folder.
ENV NUMBA_CACHE_DIR=/var/cache/holdfast
RUN find /opt/holdfast -name '*.py' -exec touch -d @1700000000 {} + \
 && /opt/holdfast/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/holdfast/lib \
 && /opt/holdfast/bin/python -m server.transport.warmup

FROM python:3.13-slim-bookworm
LABEL org.opencontainers.image.title="holdfast" \
      org.opencontainers.image.description="A stock reservation engine: holds that never oversell, over gRPC." \
      org.opencontainers.image.licenses="Apache-2.0"

RUN groupadd --gid 10001 holdfast \
 && useradd --uid 10001 --gid holdfast --no-create-home --home-dir /var/lib/holdfast --shell /usr/sbin/nologin holdfast \
 && install -d -o holdfast -g holdfast -m 0750 /var/lib/holdfast
COPY --from=build /opt/holdfast /opt/holdfast
COPY --from=build --chown=10001:10001 /var/cache/holdfast /var/cache/holdfast

# It listens on loopback until it is told otherwise, in here as everywhere: whoever
# opens it to a network says so, with a certificate or with HOLDFAST_INSECURE=true.
ENV PATH=/opt/holdfast/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    NUMBA_CACHE_DIR=/var/cache/holdfast \
    HOLDFAST_DATA=/var/lib/holdfast \
    HOLDFAST_LOG_FORMAT=json

USER 10001:10001
WORKDIR /var/lib/holdfast
VOLUME ["/var/lib/holdfast"]
EXPOSE 7420 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 CMD ["holdfast", "health"]
ENTRYPOINT ["holdfast"]
CMD ["serve"]
