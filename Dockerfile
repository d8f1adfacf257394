# The worker in an image. Two can be made:
#
#   docker build -t squeezeflow .                       # for the processor
#   docker build -t squeezeflow:cuda --target cuda .    # for CUDA 13: untried, no GPU was at hand
#
# docs/DEPLOYMENT.md says what was checked. ONNX Runtime comes out of its wheel by the version and
# digest in scripts/fetch-onnxruntime.sh, the Rust version is that of rust-toolchain.toml (a test
# compares them).

FROM python:3.11-slim-bookworm AS onnxruntime
# For aarch64, which has no pinned digest: the one that you trust.
ARG ONNXRUNTIME_WHEEL_SHA256=""
WORKDIR /fetch
COPY scripts/fetch-onnxruntime.sh scripts/
RUN scripts/fetch-onnxruntime.sh && mkdir /out && cp .cache/onnxruntime/*/*.so /out/

FROM python:3.11-slim-bookworm AS onnxruntime-gpu
WORKDIR /fetch
COPY scripts/fetch-onnxruntime.sh scripts/
RUN scripts/fetch-onnxruntime.sh gpu && mkdir /out && cp .cache/onnxruntime-gpu/*/*.so /out/

FROM rust:1.95.0-bookworm AS build
WORKDIR /src
COPY . .
# Without what only a debugger reads, which is half of the program; symbols stay.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin squeezeflow \
    && mkdir /out && strip --strip-debug -o /out/squeezeflow target/release/squeezeflow

FROM scratch AS files
COPY --from=build /out/squeezeflow /usr/local/bin/
COPY --chmod=755 deploy/healthcheck.sh /usr/local/bin/squeezeflow-health
COPY pipelines/ /usr/local/share/squeezeflow/pipelines/
COPY models/ /usr/local/share/squeezeflow/models/

# --- for CUDA
FROM nvidia/cuda:13.0.1-cudnn-runtime-ubuntu24.04 AS cuda
# Versions of a distribution's packages are not pinned: its point releases take the old ones away.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libssl3t64 zlib1g \
    && rm -rf /var/lib/apt/lists/*
COPY --from=onnxruntime-gpu /out/ /usr/local/lib/
COPY --from=files /usr/local/ /usr/local/
WORKDIR /usr/local/share/squeezeflow
# No cpu in `model.fallback`: without a GPU it refuses to start, and says so. The packed model is for
# processors only.
ENV SQUEEZEFLOW__ADMIN__ADDRESS=0.0.0.0:9464 \
    SQUEEZEFLOW__LOG__FORMAT=json \
    SQUEEZEFLOW__MODEL__PATH=/usr/local/share/squeezeflow/models/sentiment-portable \
    SQUEEZEFLOW__MODEL__PROVIDER=cuda
EXPOSE 9464
USER 10001:10001
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["squeezeflow-health"]
ENTRYPOINT ["squeezeflow"]
CMD ["run", "pipelines/sentiment.yaml"]

# --- for the processor; the last one is what `docker build` makes
FROM debian:bookworm-slim AS worker
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libssl3 zlib1g \
    && rm -rf /var/lib/apt/lists/*
COPY --from=onnxruntime /out/ /usr/local/lib/
COPY --from=files /usr/local/ /usr/local/
WORKDIR /usr/local/share/squeezeflow
# Within the container's own network; what of it is published is for who runs it to say.
ENV SQUEEZEFLOW__ADMIN__ADDRESS=0.0.0.0:9464 \
    SQUEEZEFLOW__LOG__FORMAT=json
EXPOSE 9464
USER 10001:10001
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["squeezeflow-health"]
ENTRYPOINT ["squeezeflow"]
CMD ["run", "pipelines/sentiment.yaml"]
