# Steps train and predict with mmdet3d: mmcv 2.1.0 compiled against torch 2.13 and CUDA 13.0.
ARG BASE_IMAGE=docker.io/library/python:3.11.14-slim-bookworm
ARG BUILD_IMAGE=docker.io/library/python:3.11.14-bookworm
ARG CUDA_IMAGE=docker.io/nvidia/cuda:13.0.2-devel-ubuntu22.04
FROM ${CUDA_IMAGE} AS cuda

FROM ${BUILD_IMAGE} AS build
WORKDIR /build
COPY --from=cuda /usr/local/cuda /usr/local/cuda
COPY images/locks/build.txt images/locks/train.txt images/locks/cuda.txt images/locks/
RUN python3 -m venv /opt/build \
 && python3 -m venv --without-pip /opt/venv \
 && /opt/build/bin/pip install --no-cache-dir --no-deps -r images/locks/build.txt \
 && /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels -r images/locks/train.txt -r images/locks/cuda.txt \
 && /opt/build/bin/pip --python /opt/venv/bin/python install --no-cache-dir --no-compile --no-deps --no-index /wheels/*.whl
COPY images/locks/mmdet3d.txt images/locks/
# mmcv's kernels are compiled for the architectures named here, against the torch that was installed.
ARG TORCH_CUDA_ARCH_LIST="8.0;8.6;8.9;9.0;10.0"
ENV CUDA_HOME=/usr/local/cuda MMCV_WITH_OPS=1 FORCE_CUDA=1 MAX_JOBS=4
RUN /opt/build/bin/pip --python /opt/venv/bin/python install --no-cache-dir --no-deps -r images/locks/build.txt \
 && /opt/build/bin/pip --python /opt/venv/bin/python install --no-cache-dir --no-compile --no-deps --no-build-isolation -r images/locks/mmdet3d.txt \
 && /opt/venv/bin/python -c "import mmcv.ops, mmdet3d"
COPY pyproject.toml README.md LICENSE ./
COPY src src
COPY components components
COPY pipelines pipelines
RUN /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /project . \
 && /opt/build/bin/pip --python /opt/venv/bin/python install --no-cache-dir --no-compile --no-deps --no-index /project/*.whl

FROM ${BASE_IMAGE}
ARG VERSION=0.1.0
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="admlops-train-mmdet3d-python" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    NUMBA_CACHE_DIR=/tmp/numba \
    MPLCONFIGDIR=/tmp/matplotlib
WORKDIR /tmp
USER 65532:65532
CMD ["admlops", "--help"]
