# dfm in a small image, for a user without rights:
#   docker build -t dfm . && docker run --rm -v "$PWD:/work" dfm encode photo.png
FROM python:3.13-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
COPY . /source
RUN python -m pip wheel --no-deps --wheel-dir /wheels /source

FROM python:3.13-slim
COPY --from=build /wheels /wheels
RUN python -m pip install --no-cache-dir /wheels/*.whl && rm -r /wheels && useradd --create-home dfm
USER dfm
WORKDIR /work
ENTRYPOINT ["dfm"]
