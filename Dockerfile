# Build from the root of the repository, which is the whole context:
#
#   docker build -t model-prep .
#
# Debian slim and not Alpine: torch and openvino publish no wheels for musl.

ARG PYTHON_VERSION=3.11

FROM python:${PYTHON_VERSION}-slim AS build
# Another index for another build of torch; empty for pip's own index alone.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_NO_INPUT=1
WORKDIR /build
COPY requirements.txt requirements-tested.txt prep/convert/overlay.txt ./
# torch comes first and alone: the extra index is asked for torch and for nothing else.
RUN python -m venv /opt/venv \
 && /opt/venv/bin/python -m pip install -c requirements-tested.txt --no-deps \
      ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} torch \
 && /opt/venv/bin/python -m pip install -c requirements-tested.txt -r requirements.txt
# As `python -m prep.convert.overlay` does, which would be done again with every change of prep/.
RUN /opt/venv/bin/python -m pip install --no-deps -r overlay.txt \
      --target /opt/venv/share/model-prep/transformers-4.57

FROM python:${PYTHON_VERSION}-slim
# HOME: a user id without a name has none of its own. The home of the models is HF_HOME.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    HF_HOME=/models
COPY --from=build /opt/venv /opt/venv
# Group 0 may write too: OpenShift gives each project a user id of its own, always in that group.
# Before VOLUME: what is done to a volume's folder after it is lost.
RUN install -d -o 1000 -g 0 -m 775 /models
WORKDIR /app
COPY conftest.py pytest.ini models.toml models.lock.toml ./
COPY prep ./prep
COPY model_tests ./model_tests
COPY sample_hub ./sample_hub
COPY deploy/ready.py ./deploy/
# The commit that it was built from: --build-arg REVISION=$(git rev-parse HEAD).
ARG PYTHON_VERSION
ARG REVISION=unknown
LABEL org.opencontainers.image.title="model-prep" \
      org.opencontainers.image.description="Prepares the models of a catalogue and proves that they are usable offline" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="docker.io/library/python:${PYTHON_VERSION}-slim" \
      org.opencontainers.image.revision="${REVISION}"
VOLUME /models
USER 1000:1000
# A batch job: it ends by itself, and its exit code is its health.
HEALTHCHECK NONE
# -c: or pytest takes a path that stands alone and exists (--model-home /models) for a place of tests.
ENTRYPOINT ["pytest", "-c", "/app/pytest.ini"]
