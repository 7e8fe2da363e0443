# syntax=docker/dockerfile:1
FROM busybox
WORKDIR /src
RUN --mount=type=cache,target=/root/.cache/go-build \
    --mount=type=cache,target=/go/pkg/mod,id=gomod,sharing=locked \
    --mount=type=bind,source=go,target=. \
    ls > /files && touch /go/pkg/mod/used
