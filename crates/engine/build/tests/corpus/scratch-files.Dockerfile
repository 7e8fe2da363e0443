FROM scratch
COPY data/a.txt data/b.txt /
COPY data/sub /sub/
LABEL org.opencontainers.image.title=files org.opencontainers.image.version="1.0 beta"
