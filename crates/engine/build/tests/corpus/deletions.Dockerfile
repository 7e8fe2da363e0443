FROM busybox AS base
RUN mkdir -p /d/sub && echo 1 > /d/a && echo 2 > /d/sub/b && echo 3 > /keep
RUN rm /d/a && rm -r /d/sub && mkdir /d/sub && echo 4 > /d/sub/new
RUN rm -rf /keep && mkdir /keep && echo 5 > /keep/file
FROM base
RUN mv /d /moved
