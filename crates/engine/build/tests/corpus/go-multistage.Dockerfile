# syntax=docker/dockerfile:1
ARG GO_VERSION=1.22

FROM busybox AS build
ARG GO_VERSION
WORKDIR /src
COPY go/go.mod go/go.sum ./
RUN mkdir -p /go/pkg && cp go.mod /go/pkg/
COPY go/ .
RUN echo "go ${GO_VERSION}: $(cat main.go | wc -l) lines" > /out

FROM scratch
COPY --from=build /out /hello
ENTRYPOINT ["/hello"]
