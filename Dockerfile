# One image for every castpool process: create a study, worker, result, dashboard, MLflow.
#
#   docker build .                                              the CPU, or whatever torch the base image has
#   docker build --build-arg TORCH_INDEX_URL=... .              another build of torch, for CPU or a version of CUDA
ARG BASE_IMAGE=python:3.11-slim-bookworm
FROM ${BASE_IMAGE}

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PYTHONUNBUFFERED=1
WORKDIR /opt/castpool

# Dependencies come first: a change of the code leaves this layer cached.
ARG TORCH_INDEX_URL=
COPY pyproject.toml ./
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
        > requirements.txt \
    && if [ -n "$TORCH_INDEX_URL" ]; then \
           grep '^torch' requirements.txt > torch.txt && pip install --index-url "$TORCH_INDEX_URL" -r torch.txt; fi \
    && pip install -r requirements.txt

COPY README.md LICENSE ./
COPY castpool castpool
COPY sampler_policies sampler_policies
COPY storage storage
COPY workers workers
# The folders that volumes are mounted on belong to the user that writes to them.
RUN pip install --no-deps . \
    && useradd --create-home --uid 10001 castpool \
    && install --directory --owner castpool /result /result/castpool-out /artifacts

USER castpool
WORKDIR /home/castpool
# JSON lines for a log collector; threads that wait release their core.
ENV CASTPOOL_LOG_FORMAT=json OMP_WAIT_POLICY=PASSIVE
# SIGTERM is a request: a worker saves its training state and releases its slot. An init process must forward it:
# compose.yaml and Kubernetes have one; with docker run it is --init.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s CMD ["python", "-m", "castpool.storage.ping"]
ENTRYPOINT ["castpool"]
CMD ["--help"]
