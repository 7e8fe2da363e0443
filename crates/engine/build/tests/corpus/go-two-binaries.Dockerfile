FROM busybox AS deps
WORKDIR /src
COPY go/go.* ./

FROM deps AS build-server
COPY go/main.go .
RUN cat main.go > /server

FROM deps AS build-worker
COPY go/cmd cmd
RUN cat cmd/worker/main.go > /worker

FROM scratch AS server
COPY --from=build-server /server /bin/server
ENTRYPOINT ["/bin/server"]

FROM scratch AS worker
COPY --from=build-worker /worker /bin/worker
ENTRYPOINT ["/bin/worker"]

FROM busybox
COPY --from=server /bin/server /bin/
COPY --from=worker /bin/worker /bin/
