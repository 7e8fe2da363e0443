# syntax=docker/dockerfile:1
FROM busybox
WORKDIR /app
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=bind,source=python/requirements.txt,target=requirements.txt \
    cp requirements.txt installed.txt
COPY python/app app
ENTRYPOINT ["python", "-m", "app.main"]
