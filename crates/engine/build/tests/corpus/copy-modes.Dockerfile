FROM busybox
COPY --chmod=600 data/a.txt /octal
COPY --chmod=4755 scripts/wait.sh /setuid
COPY --chmod=u=rwX,go=rX data /symbolic
COPY --chmod=+x scripts/*.sh /scripts/
COPY --chmod=g=u,o= data/b.txt /group
ARG MODE=640
COPY --chmod=$MODE data/a.txt /variable
