FROM busybox AS links
RUN mkdir -p /tree/dir && echo f > /tree/file && ln -s file /tree/link && ln -s dir /tree/dirlink && ln -s /nowhere /tree/broken
FROM scratch
COPY --from=links /tree /copied
COPY --from=links /tree/link /followed
