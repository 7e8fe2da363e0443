# syntax=docker/dockerfile:1
FROM busybox
RUN --network=none ip link > /links
RUN --network=default true
