ARG BASE=busybox
FROM $BASE AS python-base
ENV PYTHONUNBUFFERED=1 \
    # never a bytecode file
    PYTHONDONTWRITEBYTECODE=1 \
    POETRY_HOME="/opt/poetry" \
    VENV_PATH="/opt/pysetup/.venv"
ENV PATH="$POETRY_HOME/bin:$VENV_PATH/bin:$PATH"

FROM python-base AS builder-base
WORKDIR /opt/pysetup
COPY ./python/pyproject.toml ./
RUN mkdir -p $VENV_PATH/bin && printf '#!/bin/sh\necho python\n' > $VENV_PATH/bin/python && chmod +x $VENV_PATH/bin/python

FROM python-base AS production
ENV FASTAPI_ENV=production
COPY --from=builder-base $VENV_PATH $VENV_PATH
COPY ./python/app /app/
WORKDIR /app
RUN echo 'app:x:999:' >> /etc/group && echo 'app:x:999:999::/app:/bin/sh' >> /etc/passwd && chown app:app /app
USER app
RUN test "$(id -u)" = 999 && python > /tmp/by-user
CMD ["uvicorn", "main:app", "--host", "0.0.0.0"]
