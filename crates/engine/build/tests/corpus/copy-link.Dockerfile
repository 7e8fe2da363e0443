# syntax=docker/dockerfile:1.4
FROM busybox AS tools
RUN echo tool > /tool
FROM busybox
COPY --link data/a.txt /linked/
COPY --link=true --from=tools --chown=5:6 /tool /linked/bin/tool
COPY --link=false data/b.txt /plain
