# syntax=docker/dockerfile:1.19
FROM busybox
WORKDIR /app
COPY --exclude=*.test.js --exclude=**/index.js node/src ./src
COPY --exclude=public node .
