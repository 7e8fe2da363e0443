FROM busybox
COPY data/a.txt /x
RUN chmod 600 /x && mkdir /d && echo old > /d/b.txt && chmod 640 /d/b.txt && mkdir -m 700 /keep && chown 7:8 /keep
COPY data/b.txt /x
COPY data/ /d/
COPY data/sub /keep
