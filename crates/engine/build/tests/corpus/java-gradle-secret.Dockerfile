# syntax=docker/dockerfile:1
FROM busybox
COPY java /src
RUN --mount=type=secret,id=gradle_properties,target=/root/.gradle/gradle.properties \
    test ! -e /root/.gradle/gradle.properties || echo with > /how
