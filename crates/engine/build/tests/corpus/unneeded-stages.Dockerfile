FROM busybox AS broken
RUN exit 1
FROM busybox AS also-broken
COPY not-there /x
FROM busybox AS needed
RUN echo ok > /ok
FROM scratch
COPY --from=needed /ok /ok
