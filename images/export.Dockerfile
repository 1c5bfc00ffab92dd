# Steps export, build, verify, publish: ONNX, OpenVINO, TensorRT, and a Triton that proves releases.
ARG BASE_IMAGE=docker.io/library/python:3.11.14-slim-bookworm
FROM ${BASE_IMAGE} AS build
WORKDIR /build
ARG TENSORRT_INDEX
COPY images/locks/build.txt images/locks/export.txt images/locks/cuda.txt images/locks/tensorrt.txt images/locks/
RUN python3 -m venv /opt/build \
 && python3 -m venv --without-pip /opt/venv \
 && /opt/build/bin/pip install --no-cache-dir --no-deps -r images/locks/build.txt \
 && /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels -r images/locks/export.txt -r images/locks/cuda.txt -r images/locks/tensorrt.txt ${TENSORRT_INDEX:+--extra-index-url "$TENSORRT_INDEX"} \
 && /opt/build/bin/pip --python /opt/venv/bin/python install --no-cache-dir --no-compile --no-deps --no-index /wheels/*.whl
COPY requirements/triton.txt requirements/
RUN python3 -m venv --without-pip /opt/triton \
 && /opt/build/bin/pip --python /opt/triton/bin/python install --no-cache-dir --no-compile --no-deps --only-binary :all: -r requirements/triton.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
COPY components components
COPY pipelines pipelines
RUN /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /project . \
 && /opt/build/bin/pip --python /opt/venv/bin/python install --no-cache-dir --no-compile --no-deps --no-index /project/*.whl

FROM ${BASE_IMAGE}
ARG VERSION=0.1.0
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="admlops-export-python" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/triton /opt/triton
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    NUMBA_CACHE_DIR=/tmp/numba \
    MPLCONFIGDIR=/tmp/matplotlib
ENV ADMLOPS_TRITON_VENV=/opt/triton
WORKDIR /tmp
USER 65532:65532
CMD ["admlops", "--help"]
