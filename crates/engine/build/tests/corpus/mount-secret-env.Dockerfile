# syntax=docker/dockerfile:1.10
FROM busybox
RUN --mount=type=secret,id=token,env=TOKEN --mount=type=secret,id=file,mode=0440,uid=5,gid=6 \
    echo "${TOKEN:-none}" > /how; ls -ln /run/secrets > /list || true
