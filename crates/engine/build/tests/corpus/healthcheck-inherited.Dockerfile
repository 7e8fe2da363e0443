FROM busybox AS base
HEALTHCHECK --interval=5s --timeout=2s --retries=4 CMD test -e /ready
MAINTAINER The Base <base@example.test>
FROM base AS quiet
HEALTHCHECK NONE
FROM base
RUN touch /ready
CMD ["sleep", "1000"]
