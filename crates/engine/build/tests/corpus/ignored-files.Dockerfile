FROM busybox
COPY . /context
RUN cd /context && find . -type f | sort > /files
