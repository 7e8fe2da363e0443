FROM busybox
ONBUILD ARG VERSION
ONBUILD COPY . /app/src
ONBUILD RUN cd /app/src && ls > /app/list
ONBUILD ENTRYPOINT ["/app/run"]
ENV PREPARED=yes
