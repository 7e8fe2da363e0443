# syntax=docker/dockerfile:1
FROM busybox
ARG CACHE=/var/cache/app
RUN --mount=type=tmpfs,target=/scratch,size=16m \
    --mount=type=cache,target=${CACHE},uid=100,gid=101,mode=0770 \
    echo x > /scratch/x && stat -c '%a %u %g' $CACHE > /stat
