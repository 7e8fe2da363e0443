FROM busybox
RUN addgroup -g 2000 team && adduser -D -u 2001 -G team dev
COPY --chown=dev data/a.txt /by-name
COPY --chown=dev:team data /by-both
COPY --chown=55 data/a.txt /by-number
COPY --chown=55:team data/a.txt /mixed
COPY --chown=10:11 data/sub /numbers/sub
ARG OWNER=dev:team
COPY --chown=${OWNER} data/b.txt /variable
