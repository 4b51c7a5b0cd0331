# One image for all of castpool: it creates studies, works on them and shows them.
#
#   docker build .                                              the CPU, or whatever torch the base image has
#   docker build --build-arg TORCH_INDEX_URL=... .              another build of torch, for CPU or a version of CUDA
ARG BASE_IMAGE=python:3.11-slim-bookworm
FROM ${BASE_IMAGE}

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PYTHONUNBUFFERED=1
WORKDIR /opt/castpool

# What it depends on comes first and alone: a change of the code leaves this layer as it is.
ARG TORCH_INDEX_URL=
COPY pyproject.toml ./
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
        > requirements.txt \
    && if [ -n "$TORCH_INDEX_URL" ]; then \
           grep '^torch' requirements.txt > torch.txt && pip install --index-url "$TORCH_INDEX_URL" -r torch.txt; fi \
    && pip install -r requirements.txt

COPY README.md LICENSE ./
COPY sampler_policies sampler_policies
COPY storage storage
COPY workers workers
# The folders that volumes are mounted on belong to who writes to them.
RUN pip install --no-deps . \
    && useradd --create-home --uid 10001 castpool \
    && install --directory --owner castpool /result /result/castpool-out /artifacts

USER castpool
WORKDIR /home/castpool
# Lines of JSON for whatever collects them; threads that wait leave the cores to each other.
ENV CASTPOOL_LOG_FORMAT=json OMP_WAIT_POLICY=PASSIVE
# The first is a request: a worker keeps its training's state and hands its slot back. An init must pass it on, which
# compose.yaml and Kubernetes have; for docker run it is --init.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s CMD ["python", "-m", "storage.ping"]
ENTRYPOINT ["castpool"]
CMD ["--help"]
