FROM --platform=$BUILDPLATFORM busybox AS build
ARG TARGETOS TARGETARCH
WORKDIR /src
COPY go .
RUN echo "GOOS=$TARGETOS GOARCH=$TARGETARCH" > /target

FROM scratch
COPY --from=build /target /target
