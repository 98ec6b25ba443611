# CyberImage: the API and its workers in one container, run by run.py as an ordinary user.
#
#   docker build -t cyberimage .                          for NVIDIA GPUs
#   docker build -t cyberimage:cpu --build-arg DEVICE=cpu .
#
# torch brings its own CUDA libraries; the base says which driver they need, so that a container does not start on an
# older one: its version is that of torch's CUDA. For drivers of the branches 525 to 575:
#   --build-arg DEVICE=gpu-cuda12
# For the smaller CPU build of torch name an index that has it: --build-arg PIP_EXTRA_INDEX_URL=…; without one the usual
# build is installed, which works too.

ARG DEVICE=gpu

FROM nvidia/cuda:13.0.1-base-ubuntu24.04 AS base-gpu
FROM nvidia/cuda:12.8.1-base-ubuntu24.04 AS base-gpu-cuda12
FROM ubuntu:24.04 AS base-cpu

# hadolint ignore=DL3006
FROM base-${DEVICE} AS base
ENV DEBIAN_FRONTEND=noninteractive PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# gcc and Python's headers: Triton compiles a small C file for each kernel. The distribution's Python gets its security
# updates: no versions here.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates gcc libc6-dev libgomp1 python3 python3-dev \
    && rm -rf /var/lib/apt/lists/*

FROM base AS build
ARG DEVICE
ARG PIP_EXTRA_INDEX_URL=""
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /opt/cyberimage
COPY requirements.txt ./
COPY locks locks
RUN if [ "$DEVICE" = cpu ] \
        && pip install --no-cache-dir "$(sed -n 's/^\(torch==[^ ;]*\).*/\1+cpu/p' requirements.txt)"; \
    then pip install --no-cache-dir --require-hashes -r locks/run.txt -r locks/torch.txt; \
    elif [ "$DEVICE" = gpu-cuda12 ]; \
    then pip install --no-cache-dir --require-hashes -r locks/run.txt -r locks/cuda12.txt; \
    else pip install --no-cache-dir --require-hashes -r locks/run.txt -r locks/torch.txt -r locks/cuda.txt; \
    fi \
    && pip install --no-cache-dir --no-deps --require-hashes -r locks/no-deps.txt \
    && pip install --no-cache-dir --require-hashes -r locks/run.txt -r locks/s3.txt
COPY . .
RUN python -m compileall -q -j 2 app builtin

FROM base AS final
LABEL org.opencontainers.image.title="CyberImage" \
      org.opencontainers.image.description="Self-hosted image generation: a REST service with a durable queue" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 cyberimage \
    && useradd --uid 10001 --gid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin cyberimage \
    && install -d -o cyberimage -g cyberimage /data /data/db /data/images /data/videos /data/models /data/logs \
        /data/cache
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/cyberimage /opt/cyberimage
# HOST: inside the container; who can reach it is decided by which address the port is published on.
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/data \
    HOST=0.0.0.0 \
    PORT=5050 \
    DATABASE_URL=sqlite:////data/db/cyberimage.db \
    IMAGES_DIR=/data/images \
    VIDEOS_DIR=/data/videos \
    MODEL_CACHE_DIR=/data/models \
    LOG_DIR=/data/logs \
    TRITON_CACHE_DIR=/data/cache/triton \
    TORCHINDUCTOR_CACHE_DIR=/data/cache/inductor
WORKDIR /opt/cyberimage
USER 10001:10001
VOLUME ["/data/db", "/data/images", "/data/videos", "/data/models", "/data/logs", "/data/cache"]
EXPOSE 5050
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['PORT'] + '/health', timeout=4)"]
ENTRYPOINT ["python", "run.py"]
