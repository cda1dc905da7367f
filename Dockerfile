# The CPU server (the wheel's tritonserver with our Python twins) and the load generator, in one image. It holds the
# Python environment only: the repository itself is mounted, read-only, when it runs.
FROM python:3.11-slim-bookworm AS environment

ARG PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
COPY requirements/run.txt requirements/server.txt /requirements/

# Out again: libraries that DALI opens only to decode on a GPU, onnx's test data, and the installer.
RUN pip install --require-hashes -r /requirements/run.txt \
 && pip install --require-hashes --no-deps -r /requirements/server.txt \
 && pip uninstall -y nvidia-nvjpeg nvidia-nvjpeg2k-cu13 nvidia-nvtiff-cu13 nvidia-libnvcomp-cu13 \
 && rm -rf /opt/venv/lib/python3.11/site-packages/onnx/backend/test \
 && chmod -R a+rX /opt/venv \
 && chmod a+x /opt/venv/lib/python3.11/site-packages/pytriton/tritonserver/python_backend_stubs/*/* \
 && pip uninstall -y setuptools pip

# librosa compiles its resampler when it is imported: 15 s, unless it finds this cache (and may write to it).
ENV NUMBA_CACHE_DIR=/opt/numba
RUN mkdir /opt/numba \
 && python -c "import librosa, numpy; librosa.resample(numpy.zeros(400, 'f'), orig_sr=8000, target_sr=16000)" \
 && chmod -R a+rwX /opt/numba

FROM python:3.11-slim-bookworm

COPY --from=environment /opt/venv /opt/venv
COPY --from=environment /opt/numba /opt/numba
RUN chmod a+rwX /opt/numba && mkdir /state && chmod 1777 /state # the tmpfs there takes its mode from it on a restart
ENV NUMBA_CACHE_DIR=/opt/numba
ENV PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /crossover
USER 10001:10001
ENTRYPOINT ["python", "-m", "serving"]
CMD ["run"]
