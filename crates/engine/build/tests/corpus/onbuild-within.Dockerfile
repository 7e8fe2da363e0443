FROM busybox AS base
ONBUILD RUN echo triggered > /triggered
ONBUILD ENV TRIGGERED=1
ONBUILD COPY --from=tools /tool /usr/local/bin/tool

FROM busybox AS tools
RUN echo tool > /tool

FROM base
RUN cat /triggered > /seen
